"""Which way rows are encoded: by the engine, where one of its templates trains what is served for
every row, else ahead of the training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory.data.template import TEMPLATES

from fine_tuning.engine.worker.served.agreement import EngineRows, engine_rows
from fine_tuning.engine.worker.served.encoder import Encoder, encoder_of
from fine_tuning.engine.worker.served.kept import Keeping
from fine_tuning.engine.worker.served.survey import Survey, survey, trains_alike
from fine_tuning.engine.worker.tokens.template import (
    Thinking,
    named_for,
    rank,
    thinking_of,
)
from fine_tuning.errors import ModelError
from fine_tuning.values.tokens import Served

Row = Mapping[str, Any]
PLAIN = Path(__file__).with_name("plain.jinja")
ATTEMPTS = 3


@dataclass(frozen=True)
class Model:
    """What is known of a model before its weights: tokenizer, processor, names, wishes."""

    tokenizer: Any
    processor: Any
    name: str
    model_type: str
    kind: str
    settings: Mapping[str, Any]  # the user's words on rendering and masking
    stops: tuple[str, ...]
    whole: bool = False  # it is to judge conversations

    def encoder(self) -> Encoder:
        """The encoder by the model's own chat template, or by ours where it has none.

        Raises ModelError for a template that renders nothing, and where nothing can end an answer.
        """
        if self.tokenizer.eos_token is None:
            raise ModelError(
                "The tokenizer of this model has no token that ends a text.",
                why="its eos_token is not set, so an answer could not come to an end",
                fix="set eos_token in tokenizer_config.json",
            )
        encoder = encoder_of(
            self.tokenizer,
            self.kind,
            chat_template=self.chat_template,
            stops=self.stops,
            thinking=self.settings.get("enable_thinking"),
            default_system=self.settings.get("default_system"),
            last_only=bool(self.settings.get("mask_history")),
            whole=self.whole,
        )
        assert encoder is not None
        return encoder

    @property
    def chat_template(self) -> str | None:
        """Ours, for a base model; None where it has its own."""
        return None if self.tokenizer.chat_template else PLAIN.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Way:
    """How rows are encoded: `name` of the engine's template, or None for ahead; what was seen."""

    name: str | None
    others: tuple[str, ...]
    thinking: bool | None
    training: Survey
    validation: Survey


def choose_way(
    model: Model,
    encoder: Encoder,
    files: Sequence[Callable[[], Iterator[Row]]],
    limit: int | None,
    samples: Sequence[Row],
    thinking: Thinking,
    processes: int = 1,
    keeping: Callable[[], Keeping | None] = lambda: None,
) -> Way:
    """Encode all rows of `files` (training, validation), and compare a registered template that
    makes the same of the samples; a row on which they differ becomes a sample.

    Where there is no such template, what was made of the rows is kept by `keeping`.
    """
    samples = list(samples)
    seen: list[Survey] = []
    for _ in range(ATTEMPTS):
        fitting = (
            registered_like(model, encoder, samples, thinking)
            if model.chat_template is None
            else []
        )
        name = fitting[0] if fitting else None
        engine = of_registered(model, encoder, name, thinking) if name else None
        keep = None if name else keeping()
        surveys = [survey(encoder, rows(), limit, engine, processes, keep) for rows in files]
        seen = seen or surveys
        if name is None or not any(found.differing for found in surveys):
            training, validation = (*surveys, Survey())[:2]
            on = thinking_of(TEMPLATES[name], thinking) if name else None
            return Way(name, tuple(fitting[1:]), on, training, validation)
        for rows, found in zip(files, surveys, strict=True):
            if found.first_differing is not None:
                samples.append(_nth(rows(), found.first_differing))
    training, validation = (*seen, Survey())[:2]
    return Way(None, (), None, training, validation)


def _nth(rows: Iterator[Row], number: int) -> Row:
    return next(row for place, row in enumerate(rows) if place == number)


def of_registered(
    model: Model, encoder: Encoder, name: str, thinking: Thinking
) -> EngineRows | None:
    """How the engine encodes by one of its templates; None if that would add tokens."""
    template = TEMPLATES[name]
    return engine_rows(
        template,
        model.tokenizer,
        model.processor,
        encoder.pieces,
        model.kind,
        model.settings,
        thinking_of(template, thinking),
    )


def registered_like(
    model: Model, encoder: Encoder, samples: Sequence[Row], thinking: Thinking
) -> list[str]:
    """LLaMA-Factory's templates that train what is served for each of the samples, the one of the
    model's own family first."""
    encoded = list(zip(samples, encoder.encode(samples, {}), strict=True))
    engines = {name: of_registered(model, encoder, name, thinking) for name in TEMPLATES}
    found = [
        name
        for name, engine in engines.items()
        if engine is not None and all(trains_alike(engine, *one, encoder) for one in encoded)
    ]
    known = named_for(model.name)
    if known in found:
        return [known, *(name for name in sorted(found) if name != known)]
    return sorted(
        found, key=lambda name: rank(name, model.model_type, seeing=model.processor is not None)
    )


def served(model: Model, encoder: Encoder, way: Way) -> Served:
    """All that encodes these rows ahead, again and again."""
    special = {*encoder.served.special, model.tokenizer.eos_token}
    ends = {
        token
        for token in way.training.ends | way.validation.ends
        if model.tokenizer.convert_ids_to_tokens(token) in special
    }
    ends |= {model.tokenizer.convert_tokens_to_ids(stop) for stop in model.stops}
    ends.add(model.tokenizer.eos_token_id)
    return Served(
        chat_template=model.chat_template,
        stops=model.stops,
        stop_ids=tuple(sorted(ends)),
        thinking=encoder.served.thinking,
        default_system=encoder.served.default_system,
        last_only=encoder.last_only,
        whole=encoder.served.whole,
    )


def notes(encoder: Encoder, way: Way) -> tuple[str, ...]:
    """What a person should know of rows that are encoded ahead: what the template does not take,
    what it rewrites, and what a server must be asked for."""
    able, parts = encoder.served.able, (way.training, way.validation)
    rows = sum(len(part.lengths) for part in parts)
    rewritten = sum(part.rewritten for part in parts)
    found = []
    if not able.system and any(part.systems for part in parts):
        found.append(
            "the chat template takes no system turn, so the system prompt stands before the text "
            "of the first user turn; ask your server in the same way"
        )
    if not able.tools and any(part.tools for part in parts):
        found.append(
            "the chat template takes no functions, so they are written into the system prompt; "
            "ask your server in the same way"
        )
    if not able.calls and any(part.calls for part in parts):
        found.append(
            "the chat template takes no function calls, so a call is its JSON as an answer, and "
            "its result a user turn; ask your server in the same way"
        )
    if rewritten:
        sequences = sum(part.sequences for part in parts)
        found.append(
            f"the chat template writes earlier turns anew in {rewritten:,} of {rows:,} rows, so "
            f"these become one sequence an answer ({sequences:,} in all); --mask_history true "
            "trains the last answer of each row alone"
        )
    off = able.switches and (
        encoder.served.thinking is False
        or (encoder.served.thinking is None and any(part.unreasoned for part in parts))
    )
    if off:
        names = " and ".join(f"{name}=False" for name in sorted(able.switches))
        found.append(
            f"answers without reasoning are trained with the template's reasoning switched off "
            f"({names}); ask your server for the same (chat_template_kwargs), or train with "
            "--enable_thinking true"
        )
    return tuple(found)


def switched_off(encoder: Encoder, way: Way) -> tuple[str, ...]:
    """The names of the template's switches of reasoning that are off for every row."""
    thinking = encoder.served.thinking
    if thinking is None:
        thinking = any(part.reasoned for part in (way.training, way.validation))
    return () if thinking else tuple(sorted(encoder.served.able.switches))
