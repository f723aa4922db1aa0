"""Writes down what a model answers, and how far number formats move it."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from fine_tuning.engine.worker.chatting.speaker import Speaker, forget_speakers, speaker_of
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.proving.answers import greedy, log_probabilities
from fine_tuning.engine.worker.proving.conversations import Asked, conversations
from fine_tuning.engine.worker.proving.rounding import FORMATS, computed_in
from fine_tuning.engine.worker.scoring.generate import scoring_mode
from fine_tuning.values.answers.contract import Contract, Conversation, Noise, Position, Top
from fine_tuning.values.codec import to_json

TOP = 5
PROBED = 8  # conversations
SCALES = (0.0, 0.25, 0.5, 2.0)  # of an adapter that is not read, or by another rule of scaling
PACKAGES = ("torch", "transformers", "peft", "llamafactory", "tokenizers")
Tensors = Sequence["torch.Tensor"]


def write_contract(
    *,
    events: Events,
    model: Mapping[str, Any],
    rows: str | None,
    chat_template: str | None,
    thinking: bool | None,
    as_engine: bool,
) -> dict[str, Any]:
    """The contract of a model (process/chatting.py: SpokenModel); the caller knows its hashes.

    `rows` are held-out rows; the other arguments are those of `conversations`.
    """
    speaker = speaker_of(model)
    asked = conversations(
        speaker,
        Path(rows) if rows else None,
        chat_template=chat_template,
        thinking=thinking,
        as_engine=as_engine,
        documents=model["documents"],
    )
    with scoring_mode(speaker.network), speaker.answering():
        found = _contract(speaker, asked, model, events)
    template = chat_template or speaker.tokenizer.chat_template
    del speaker
    forget_speakers()
    if isinstance(template, str):
        found = replace(found, template=hashlib.sha256(template.encode()).hexdigest())
    return dict(to_json(found))


def _contract(
    speaker: Speaker, asked: Sequence[Asked], model: Mapping[str, Any], events: Events
) -> Contract:
    network, tokenizer, said = speaker.network, speaker.tokenizer, events.note
    prompts = [one.ids for one in asked]
    answers = greedy(network, prompts, speaker.stop_ids, tokenizer.pad_token_id, said)
    pairs = list(zip(prompts, answers, strict=True))
    likely = log_probabilities(network, pairs, said)
    places = [it.topk(TOP).indices for it in likely]
    chosen = _chosen(likely, places)
    # of the rest the shortest are enough: a pass for each format and scale
    order = sorted(range(len(asked)), key=lambda number: len(prompts[number]))
    probed = sorted(order[:PROBED])

    def again() -> Tensors:
        found = log_probabilities(network, [pairs[number] for number in probed], said)
        return _chosen(found, [places[number] for number in probed])

    plain = [chosen[number] for number in probed]
    scaled: dict[str, Mapping[int, torch.Tensor]] = {}
    for times in SCALES if speaker.adapter else ():
        with _adapter_at(speaker, times) as possible:
            if possible:
                scaled[f"{times:g}"] = dict(zip(probed, again(), strict=True))
    noise = {}
    for name in FORMATS:
        with computed_in(network, name):
            noise[name] = _noise(plain, again())
    stops = sorted(set(speaker.questions.stop_ids) or set(speaker.stop_ids))
    return Contract(
        model=str(model["settings"]["model_name_or_path"]),
        dtype=_dtype(network, model["settings"]),
        versions={name: metadata.version(name) for name in PACKAGES},
        stop_ids=tuple(stops),
        stops=tuple(map(str, tokenizer.convert_ids_to_tokens(stops))),
        noise=noise,
        moved=_noise(plain, list(scaled["0"].values())).mean if scaled else None,
        conversations=tuple(
            Conversation(
                name=one.name,
                messages=tuple(one.messages),
                tools=tuple(one.tools),
                options=one.options,
                prompt=one.prompt,
                prompt_ids=tuple(one.ids),
                answer=tokenizer.decode(answer, skip_special_tokens=True),
                answer_ids=tuple(answer),
                ended="stop" if answer[-1] in speaker.stop_ids else "length",
                positions=tuple(
                    Position(
                        top=top_of(tokenizer, ids[place].tolist(), values[place].tolist()),
                        scaled={
                            times: tuple(round(it, 4) for it in those[number][place].tolist())
                            for times, those in scaled.items()
                            if number in those
                        },
                    )
                    for place in range(len(answer))
                ),
            )
            for number, (one, answer, ids, values) in enumerate(
                zip(asked, answers, places, chosen, strict=True)
            )
        ),
    )


def _chosen(likely: Tensors, places: Tensors) -> "list[torch.Tensor]":
    return [it.gather(-1, ids) for it, ids in zip(likely, places, strict=True)]


def _noise(these: Tensors, those: Tensors) -> Noise:
    apart = [other - one for one, other in zip(these, those, strict=True)]
    return Noise(
        mean=max(float(it.abs().mean()) for it in apart),
        largest=max(float((it[:, 0] - it[:, 1]).abs().max()) for it in apart),
    )


@contextmanager
def _adapter_at(speaker: Speaker, times: float) -> Iterator[bool]:
    """Inside, the adapter counts so many times; False if it has no scale that could be changed."""
    if not times:
        with speaker.base():
            yield True
        return
    layers = [
        it for it in speaker.network.modules() if isinstance(getattr(it, "scaling", None), dict)
    ]
    known = [dict(layer.scaling) for layer in layers]
    for layer in layers:
        layer.scaling = {name: value * times for name, value in layer.scaling.items()}
    try:
        yield bool(layers)
    finally:
        for layer, scaling in zip(layers, known, strict=True):
            layer.scaling = scaling


def top_of(tokenizer: Any, ids: Sequence[int], values: Sequence[float]) -> Top:
    """Tokens with their texts and log-probabilities, to six digits."""
    return tuple(
        (token, tokenizer.decode([token]), round(value, 6))
        for token, value in zip(ids, values, strict=True)
    )


def _dtype(network: Any, settings: Mapping[str, Any]) -> str:
    bits = settings.get("quantization_bit")
    return f"{bits} bits" if bits else str(network.dtype).removeprefix("torch.")
