"""Puts a contract's conversations to the model of a run, and to folders as Transformers and PEFT
load them for a user: with nothing of LLaMA-Factory's, and nothing of ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from msgspec import convert
from transformers import AutoConfig

from fine_tuning.engine.worker.chatting.speaker import speaker_of
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.attached import attached, unread, with_adapter
from fine_tuning.engine.worker.loading.auto_class import auto_class
from fine_tuning.engine.worker.loading.tokenizer import own_tokenizer
from fine_tuning.engine.worker.proving.answers import greedy, log_probabilities
from fine_tuning.engine.worker.proving.record import top_of
from fine_tuning.engine.worker.scoring.generate import scoring_mode
from fine_tuning.engine.worker.served.text.guard import bounded
from fine_tuning.errors import ModelError
from fine_tuning.values.answers.contract import Contract, Conversation, Heard, Replay
from fine_tuning.values.codec import to_json

MORE = 20  # likeliest tokens at each place, among which the contract's are looked for


@dataclass(frozen=True)
class Loaded:
    """A model that answers; `stop_ids` None: where its own generation config stops."""

    network: Any
    tokenizer: Any
    stop_ids: Sequence[int] | None
    renders: bool  # its tokenizer makes prompts of messages


def replay_run(
    *, events: Events, contract: Mapping[str, Any], model: Mapping[str, Any], target: str
) -> dict[str, Any]:
    """The contract with the model of a run (process/chatting.py: SpokenModel), loaded as it was
    when the contract was written; its prompts are made by the template that lies in the run."""
    speaker = speaker_of(model)
    tokenizer = own_tokenizer(target)
    loaded = Loaded(speaker.network, tokenizer, speaker.stop_ids, not model["documents"])
    with speaker.answering():
        found = _replayed(events, convert(contract, Contract), loaded)
    replay = Replay(
        target=target,
        kind="the run itself",
        dtype=str(contract["dtype"]),
        stop_ids=tuple(speaker.stop_ids),
        heard=tuple(found),
    )
    return dict(to_json(replay))


def replay_folder(
    *,
    events: Events,
    asked: Sequence[Mapping[str, Any]],
    base: str,
    trust_remote_code: bool,
) -> dict[str, Any]:
    """Contracts with a model's directory, or with a base and adapters, which are loaded together
    and switched; `asked`: {adapter (empty: none), contract}. Gives their `replays`."""
    trust = {"trust_remote_code": trust_remote_code}
    config = AutoConfig.from_pretrained(base, **trust)
    dtype = stored_format(config)
    # a processor computes in half precision ten times slower, and nobody serves so
    on_gpu = torch.cuda.is_available()
    loading = {"dtype": "auto", "device_map": "auto"} if on_gpu else {"dtype": torch.float32}
    network = auto_class(config).from_pretrained(base, **trust, **loading)
    _require_known_tokens(network, base, [convert(it["contract"], Contract) for it in asked])
    network = attached(network, [str(it["adapter"]) for it in asked if it["adapter"]])
    found = []
    for it in asked:
        with with_adapter(network, it["adapter"]):
            contract = convert(it["contract"], Contract)
            replay = _of_folder(events, contract, network, base, it["adapter"], trust)
            found.append(to_json(replace(replay, dtype=dtype)))
    return {"replays": found}


def _require_known_tokens(network: Any, base: str, contracts: Sequence[Contract]) -> None:
    size = network.get_input_embeddings().weight.shape[0]
    asked = (it for one in contracts for chat in one.conversations for it in chat.prompt_ids)
    most = max(asked, default=0)
    if most >= size:
        raise ModelError(
            f"{base} has {size:,} tokens, and the contract asks with token {most:,}.",
            why="another base model, or another revision of it, was trained",
            fix="give the base model of the training, or what it was merged into",
        )


def stored_format(config: Any) -> str:
    """The number format of a model's weights, in the words of ship/proving/tolerance.py."""
    packed = getattr(config, "quantization_config", None) or {}
    groups = list(packed.get("config_groups", {}).values())  # of compressed-tensors
    weights = (groups[0].get("weights") or {}) if groups else {}
    bits = weights.get("num_bits", packed.get("bits"))
    if bits:
        return f"{'fp' if weights.get('type') == 'float' else 'int'}{bits}"
    return str(config.dtype or torch.float32).removeprefix("torch.")


def _of_folder(
    events: Events,
    contract: Contract,
    network: Any,
    base: str,
    adapter: str,
    trust: Mapping[str, bool],
) -> Replay:
    brings_tokenizer = adapter and (Path(adapter) / "tokenizer_config.json").is_file()
    tokenizer = own_tokenizer(adapter if brings_tokenizer else base, **trust)
    loaded = Loaded(network, tokenizer, None, bool(tokenizer.chat_template))
    ends = network.generation_config.eos_token_id
    return Replay(
        target=f"{base} + {adapter}" if adapter else base,
        kind="PEFT" if adapter else "Transformers",
        stop_ids=tuple(it for it in (ends if isinstance(ends, list) else [ends]) if it is not None),
        unread=tuple(unread(network, adapter)) if adapter else (),
        heard=tuple(_replayed(events, contract, loaded)),
    )


def _replayed(events: Events, contract: Contract, model: Loaded) -> list[Heard]:
    asked = contract.conversations
    events.stage("replay", len(asked), "conversations")
    with scoring_mode(model.network):
        answers = greedy(
            model.network,
            [one.prompt_ids for one in asked],
            model.stop_ids,
            model.tokenizer.pad_token_id,
            events.note,
        )
        pairs = [(one.prompt_ids, one.answer_ids) for one in asked]
        likely = log_probabilities(model.network, pairs, events.note)
    own = model.network.generation_config.eos_token_id
    ends = model.stop_ids or (own if isinstance(own, list) else [own])
    return [
        Heard(
            name=one.name,
            **(_rendered(model.tokenizer, one) if model.renders and one.messages else {}),
            answer=model.tokenizer.decode(answer, skip_special_tokens=True),
            answer_ids=tuple(answer),
            ended="stop" if answer and answer[-1] in ends else "length",
            tops=tuple(_tops(model.tokenizer, one, numbers)),
            forced=True,
        )
        for one, answer, numbers in zip(asked, answers, likely, strict=True)
    ]


def _rendered(tokenizer: Any, one: Conversation) -> dict[str, Any]:
    """The prompt that Transformers makes of the messages."""
    how = {"add_generation_prompt": True, **one.options}
    messages, tools = list(one.messages), list(one.tools) or None
    try:
        with bounded():
            text = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, **how)
    except ModelError:
        raise
    except Exception as error:  # a template raises anything
        return {"refused": str(error) or type(error).__name__}
    ids = tokenizer.encode(text, add_special_tokens=False)
    return {"prompt": text, "prompt_ids": tuple(ids), "prompt_tokens": len(ids)}


def _tops(tokenizer: Any, one: Conversation, likely: "torch.Tensor") -> Any:
    """The contract's tokens at each place, and the likeliest ones."""
    for position, numbers in zip(one.positions, likely, strict=True):
        best = numbers.topk(min(MORE, len(numbers))).indices.tolist()
        wanted = [token for token, _, _ in position.top if token is not None]
        known = [it for it in dict.fromkeys([*best, *wanted]) if it < len(numbers)]
        yield top_of(tokenizer, known, numbers[known].tolist())
