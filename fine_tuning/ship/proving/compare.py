"""One conversation of a contract against what a target made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from fine_tuning.values.answers.contract import (
    Contract,
    Conversation,
    Heard,
    Noise,
    Replay,
    Token,
)
from fine_tuning.values.answers.verdict import Compared, Difference, Same

SHOWN = 24  # characters of a text from where it differs


@dataclass(frozen=True)
class Apart:
    """Differences of log-probabilities from the contract's, and those of the model with so many
    times its adapter, where that is known: there `beside` was found."""

    found: tuple[float, ...] = ()
    beside: tuple[float, ...] = ()
    scaled: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    places: int = 0

    @property
    def mean(self) -> float | None:
        """The mean of what they are without their signs."""
        return sum(map(abs, self.found)) / len(self.found) if self.found else None


def compared(
    contract: Contract, wanted: Conversation, heard: Heard, replay: Replay, allowed: Noise
) -> Compared:
    """What is equal, what differs, and where first."""
    prompt, prompt_difference = _prompts(wanted, heard)
    answer, stops, answer_difference = _answers(contract, wanted, heard, replay, allowed)
    apart = apart_of(wanted, heard)
    return Compared(
        name=wanted.name,
        prompt=prompt,
        prompt_difference=prompt_difference,
        answer=answer,
        answer_difference=answer_difference,
        stops=stops,
        drift=None if apart.mean is None else round(apart.mean, 6),
        places=apart.places,
    )


def _prompts(wanted: Conversation, heard: Heard) -> tuple[Same, Difference | None]:
    if heard.refused:
        return "differs", Difference(at=0, expected=wanted.prompt[:SHOWN], found=heard.refused)
    if heard.prompt_ids is not None and heard.prompt_ids != wanted.prompt_ids:
        at = first_difference(wanted.prompt_ids, heard.prompt_ids)
        if heard.prompt is not None and heard.prompt != wanted.prompt:
            return "differs", _of_texts(wanted.prompt, heard.prompt)
        shown = [str(list(ids[at : at + 4])) for ids in (wanted.prompt_ids, heard.prompt_ids)]
        return "differs", Difference(at=at, expected=shown[0], found=shown[1])
    if heard.prompt_ids is None and heard.prompt is not None:
        # a server that puts the token before it that begins a text leaves that out of the text
        before = wanted.prompt.removesuffix(heard.prompt)
        if not wanted.prompt.endswith(heard.prompt) or len(before.split()) > 1:
            return "differs", _of_texts(wanted.prompt, heard.prompt)
    if heard.prompt_tokens is not None and heard.prompt_tokens != len(wanted.prompt_ids):
        counts = [f"{count} tokens" for count in (len(wanted.prompt_ids), heard.prompt_tokens)]
        return "differs", Difference(at=0, expected=counts[0], found=counts[1])
    told = heard.prompt_ids is not None or heard.prompt_tokens is not None
    return ("equal" if told else "unknown"), None


def _answers(
    contract: Contract, wanted: Conversation, heard: Heard, replay: Replay, allowed: Noise
) -> tuple[Same, Same, Difference | None]:
    """Whether the answer is the same, and whether it ends in the same way: what follows the end is
    not the answer, and of another answer's end nothing is known."""
    if heard.answer is None:
        return "unknown", "unknown", None
    ended: Same = "equal" if heard.ended == wanted.ended else "differs"
    if heard.ended is None:
        ended = "unknown"
    if heard.answer_ids is None:
        return _by_texts(wanted, heard, ended, allowed)
    ends = {*contract.stop_ids, *(replay.stop_ids or ())}
    expected, found = without_end(wanted, ends), without_end(heard, ends)
    at = first_difference(expected, found)
    if at == len(expected) == len(found):
        return "equal", ended, None
    goes_on = wanted.ended == "stop" and at == len(expected)
    ends_here = heard.ended == "stop" and at == len(found)
    said = heard.answer_ids[at] if at < len(heard.answer_ids) else None
    if (goes_on and said == wanted.answer_ids[at]) or (ends_here and said is None):
        return "equal", "differs", None  # the same token ends the answer in one of the two
    same: Same = "close" if _gap(wanted, at, said) <= allowed.largest else "differs"
    return same, "unknown", _of_texts(wanted.answer, heard.answer)


def _by_texts(
    wanted: Conversation, heard: Heard, ended: Same, allowed: Noise
) -> tuple[Same, Same, Difference | None]:
    """The same where only the answer's text is told."""
    expected, found = plain(wanted.answer), plain(heard.answer or "")
    at = first_difference(expected, found)
    cut = wanted.ended == "length" and heard.ended == "length"
    if expected == found or (cut and at >= min(len(expected), len(found)) - 1 > 0):
        return "equal", ended, None  # the last letter of what is cut may not be whole
    if expected and at == len(expected) and wanted.ended == "stop":
        return "equal", "differs", None
    gap = _gap(wanted, _place(wanted, at), None)
    if gap > allowed.largest and heard.ended == "stop" and at == len(found):
        return "equal", "differs", None  # it ends where the trained model goes on
    same: Same = "close" if gap <= allowed.largest else "differs"
    return same, "unknown", _of_texts(expected, found)


def apart_of(wanted: Conversation, heard: Heard) -> Apart:
    """The log-probabilities of the contract's tokens, at the places behind the same tokens."""
    positions = wanted.positions
    if not heard.forced:
        same = 0
        for place, top in enumerate(heard.tops):
            token = _answered(wanted, place)
            same = place + 1
            if same == len(positions) or not _is(token, top[0]):
                break
        positions = positions[:same]
    found: list[float] = []
    beside: list[float] = []
    scaled: dict[str, list[float]] = {}
    for position, top in zip(positions, heard.tops, strict=False):
        for place, token in enumerate(position.top):
            value = next((it[2] for it in top if _is(token, it)), None)
            by_text = top[0][0] is None
            if (value is None and (place or by_text)) or (by_text and not _is_plain(token[1])):
                continue  # it is not among those that the server tells
            least = min(it[2] for it in top)
            found.append((least if value is None else value) - token[2])
            if position.scaled:
                beside.append(found[-1])
            for times, values in position.scaled.items():
                scaled.setdefault(times, []).append(values[place] - token[2])
    return Apart(
        found=tuple(found),
        beside=tuple(beside),
        scaled={times: tuple(values) for times, values in scaled.items()},
        places=len(positions),
    )


def _is_plain(text: str) -> bool:
    """Whether a token is known by its text: parts of letters are not, and a special token is
    nothing to one server and its name to another."""
    return bool(text) and "\ufffd" not in text and not (text[0] == "<" and text[-1] == ">")


def _is(token: Token, other: Token) -> bool:
    return token[0] == other[0] if other[0] is not None else token[1] == other[1]


def _gap(wanted: Conversation, at: int, said: int | None) -> float:
    """How much likelier the contract's token is than the one that was said in its place (None: not
    known, so the likeliest other one)."""
    place = min(at, len(wanted.positions) - 1)
    top, mine = wanted.positions[place].top, _answered(wanted, place)
    others = [it[2] for it in top if it[0] != mine[0] and said in (None, it[0])]
    return mine[2] - (others[0] if others else top[-1][2])


def _answered(wanted: Conversation, place: int) -> Token:
    """The token of the contract's answer. It need not be the likeliest of those that stand there:
    on a GPU a token is generated by other kernels than a whole answer is read by, and of two that
    are nearly as likely the other one may lead."""
    top, id = wanted.positions[place].top, wanted.answer_ids[place]
    return next((it for it in top if it[0] == id), top[0])


def without_end(said: Conversation | Heard, ends: "set[int]") -> tuple[int, ...]:
    """The answer without the token that ends it."""
    ids = said.answer_ids or ()
    return ids[:-1] if said.ended == "stop" and ids and ids[-1] in ends else ids


def _place(wanted: Conversation, letter: int) -> int:
    """The token of the answer in which this letter stands."""
    length = 0
    for place in range(len(wanted.positions)):
        length += len(plain(_answered(wanted, place)[1]))
        if length > letter:
            return place
    return len(wanted.positions) - 1


def plain(text: str) -> str:
    """Without white space and the marks of reasoning, which servers take out or put in."""
    return "".join(text.replace("<think>", "").replace("</think>", "").split())


def first_difference(one: Sequence[object], other: Sequence[object]) -> int:
    """The first place at which they differ; the length of the shorter if they do not until then."""
    missing = object()
    for at, (a, b) in enumerate(zip_longest(one, other, fillvalue=missing)):
        if a != b:
            return at
    return len(one)


def _of_texts(expected: str, found: str) -> Difference:
    at = first_difference(expected, found)
    begin = max(0, at - 4)
    return Difference(
        at=at, expected=expected[begin : begin + SHOWN], found=found[begin : begin + SHOWN]
    )
