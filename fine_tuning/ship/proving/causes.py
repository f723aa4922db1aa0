"""What usually causes such a difference: a table, and how each cause shows itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fine_tuning.ship.proving.compare import Apart, apart_of, compared
from fine_tuning.ship.proving.tolerance import COARSER, format_of, noise_of
from fine_tuning.units import counted
from fine_tuning.values.answers.contract import Contract, Conversation, Heard, Replay
from fine_tuning.values.answers.verdict import Compared, Finding, Verdict

# What to do about each cause.
CAUSES: Mapping[str, str] = {
    "bos": "the server puts the token that begins a text before the prompt, and the template has "
    "written it where it is wanted: switch that off (in a GGUF file: tokenizer.ggml.add_bos_token)",
    "template": "serve with the chat template of the run (chat_template.jinja, or the one in its "
    "tokenizer_config.json)",
    "tokenizer": "serve with the tokenizer files of the base model; a converted file needs the "
    "tokenizer type of this model",
    "stop token": "give the server the stop tokens of the training (eos_token_id in "
    "generation_config.json, PARAMETER stop, or a stop string)",
    "adapter keys": "serve the adapter with the class of model that it was trained on, or merge it",
    "adapter not loaded": "load the adapter (a server answers with the base model alone when it "
    "cannot read one), or serve the merged model",
    "adapter scale": "compare lora_alpha, r and use_rslora of the adapter with what the server "
    "applies",
    "dtype": "load or convert the weights in the format that they were merged in",
    "base or weights": "serve the base model, the revision and the adapter of the training",
}
MUCH_NEARER = 0.6  # to another scale of the adapter, of the way to the right one
LIKE = 1.5  # times what a format was measured to make: this is what it makes
USUAL = COARSER[: COARSER.index("4 bits") + 1]  # what weights are in without a word of it


@dataclass(frozen=True)
class _Pair:
    wanted: Conversation
    heard: Heard
    result: Compared


def judge(contract: Contract, replay: Replay) -> Verdict:
    """The whole comparison, with causes. It holds if nothing differs beyond what the number format
    of the target explains; without a word of that, bfloat16's."""
    name = format_of(replay.dtype) or "bfloat16"
    noises = [noise_of(contract, it) for it in (name, format_of(replay.cache)) if it]
    allowed = max(noises, key=lambda noise: noise.mean)
    heard = {one.name: one for one in replay.heard}
    pairs = [
        _Pair(one, heard[one.name], compared(contract, one, heard[one.name], replay, allowed))
        for one in contract.conversations
        if one.name in heard
    ]
    drifted = [pair for pair in pairs if (pair.result.drift or 0.0) > allowed.mean]
    # of other prompts other answers come, unless the target was given the contract's ids
    answers_count = [
        pair
        for pair in pairs
        if pair.result.answer == "differs"
        and (pair.heard.answer_ids is not None or pair.result.prompt != "differs")
    ]
    findings = [*_of_prompts(contract, pairs), *_of_stops(contract, replay, pairs)]
    if replay.unread:
        findings.append(_unread(replay.unread))
    elif drifted or answers_count:
        findings.append(
            _of_weights(contract, name, pairs, len({*map(id, drifted + answers_count)}))
        )
    return Verdict(
        target=replay.target,
        kind=replay.kind,
        holds=not findings,
        format=name,
        allowed=allowed.mean,
        moved=contract.moved,
        findings=tuple(findings),
        notes=(*replay.notes, *_notes(contract, replay, name, allowed.mean, pairs)),
        conversations=tuple(pair.result for pair in pairs),
    )


def _finding(cause: str, text: str) -> Finding:
    return Finding(cause=cause, text=text, fix=CAUSES[cause])


def _of_prompts(contract: Contract, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    found: dict[str, list[_Pair]] = {}
    for pair in pairs:
        if pair.result.prompt == "differs":
            found.setdefault(_cause_of_prompt(pair), []).append(pair)
    for cause, of_cause in found.items():
        difference = of_cause[0].result.prompt_difference
        assert difference is not None
        yield _finding(
            cause,
            f"{counted(len(of_cause), 'prompt')} of {len(pairs)} differ; first in "
            f"{of_cause[0].wanted.name!r} at {difference.at}: {difference.expected!r} was trained, "
            f"{difference.found!r} is sent",
        )


def _cause_of_prompt(pair: _Pair) -> str:
    wanted, heard = pair.wanted.prompt_ids, pair.heard.prompt_ids
    if heard is None:
        same = pair.heard.prompt is None or pair.wanted.prompt.endswith(pair.heard.prompt)
        if pair.heard.prompt_tokens == len(wanted) + 1 and same:
            return "bos"
        return "tokenizer" if pair.heard.prompt is not None and same else "template"
    # the same ids, but in a chat the server counts more of them
    if heard == wanted or heard[1:] == wanted:
        return "bos"
    return "tokenizer" if pair.heard.prompt == pair.wanted.prompt else "template"


def _of_stops(contract: Contract, replay: Replay, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    over = [pair for pair in pairs if pair.result.stops == "differs"]
    used = {pair.wanted.answer_ids[-1] for pair in pairs if pair.wanted.ended == "stop"}
    wanted = used or set(contract.stop_ids)
    missing = wanted - set(wanted if replay.stop_ids is None else replay.stop_ids)
    if not over and not missing:
        return
    names = dict(zip(contract.stop_ids, contract.stops, strict=True))
    named = ", ".join(names.get(token, str(token)) for token in sorted(missing or wanted))
    if missing and not over:
        yield _finding("stop token", f"it does not stop at {named}, where trained answers end")
    elif over[0].wanted.ended == "stop":
        what = f"go on after {named}, where the trained model ends"
        yield _finding("stop token", _counted_answers(over, pairs, what))
    else:
        what = "end where the trained model goes on"
        yield _finding("stop token", _counted_answers(over, pairs, what))


def _counted_answers(some: Sequence[_Pair], pairs: Sequence[_Pair], what: str) -> str:
    answers = counted(len(some), "answer")
    return f"{answers} of {len(pairs)} {what}; first in {some[0].wanted.name!r}"


def _unread(names: Sequence[str]) -> Finding:
    shown = ", ".join(names[:3])
    return _finding(
        "adapter keys",
        f"{counted(len(names), 'tensor')} of the adapter have names that nothing reads ({shown}"
        f"{', ...' if len(names) > 3 else ''})",
    )


def _of_weights(contract: Contract, name: str, pairs: Sequence[_Pair], count: int) -> Finding:
    """Why the same prompt is answered otherwise."""
    worst = max((pair.result.drift or 0.0 for pair in pairs), default=0.0)
    answers = f"{counted(count, 'answer')} of {len(pairs)}"
    if all(pair.result.drift is None for pair in pairs):
        return _finding("base or weights", f"{answers} differ")
    what = f"{answers} drift: log-probabilities differ by up to {worst:.2g} in the mean of one"
    times = nearest_scale([apart_of(pair.wanted, pair.heard) for pair in pairs])
    if times == "0":
        return _finding("adapter not loaded", f"{what}, and are nearly those of the base model")
    if times is not None:
        return _finding("adapter scale", f"{what}, as if the adapter counted about {times} times")
    for coarser in USUAL[USUAL.index(name) + 1 :] if name in USUAL else ():
        if worst <= LIKE * contract.noise[coarser].mean:
            text = f"{what}: too much for {name}, and as much as rounding to {coarser} makes"
            return _finding("dtype", text)
    return _finding("base or weights", f"{what}, more than rounding makes")


def nearest_scale(parts: Sequence[Apart]) -> str | None:
    """How many times the adapter must count to come nearest to what was found; None if that is not
    much nearer than the tuned model itself, or nobody knows."""
    known = [part for part in parts if part.beside]
    found = [it for part in known for it in part.beside]
    best, least = None, MUCH_NEARER * sum(map(abs, found))
    for times in known[0].scaled if known else ():
        there = [it for part in known for it in part.scaled[times]]
        left = sum(abs(one - other) for one, other in zip(found, there, strict=True))
        if left < least:
            best, least = times, left
    return best


def _notes(
    contract: Contract, replay: Replay, name: str, allowed: float, pairs: Sequence[_Pair]
) -> Iterator[str]:
    told = any(pair.result.drift is not None for pair in pairs)
    if not told:
        yield "it tells no log-probabilities: the texts of answers are compared, weights are not"
    elif not replay.dtype:
        yield f"it does not tell its number format: {name} is assumed (--dtype names another)"
    if all(pair.heard.prompt_ids is None for pair in pairs):
        if any(pair.heard.prompt_tokens is not None for pair in pairs):
            yield "it tells the number of a prompt's tokens, and not which"
        else:
            yield "it tells nothing of its prompts"
    if told and contract.moved is not None and contract.moved < 2 * allowed:
        yield (
            f"training moved the log-probabilities by {contract.moved:.2g}, and {name} explains "
            f"{allowed:.2g}: base and tuned model cannot be told apart by them in this format"
        )
