"""Models on sets of rows, one after the other; an adapter and its base are loaded once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from fine_tuning.disk.files import write_text
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.attached import (
    adapters_of,
    attached,
    require_read,
    with_adapter,
)
from fine_tuning.engine.worker.rows import first_rows
from fine_tuning.engine.worker.scoring.asking import NotScored
from fine_tuning.engine.worker.scoring.generate import Limit
from fine_tuning.engine.worker.scoring.inputs.batches import free_device_memory
from fine_tuning.engine.worker.scoring.inputs.prompts import require_template, stop_ids_of
from fine_tuning.engine.worker.scoring.inputs.with_media import MediaModel
from fine_tuning.engine.worker.scoring.score import Scoring, is_answered, loaded, score_rows
from fine_tuning.engine.worker.tokens.counting.media import media_of
from fine_tuning.engine.worker.tokens.rendering import with_answer
from fine_tuning.errors import DataError, EngineError
from fine_tuning.units import counted

Row = Mapping[str, Any]
MANY = 1 << 40


@dataclass
class Usable:
    """The rows of a set that can be scored, by their numbers; those with media come last."""

    numbers: list[int]
    rows: list[Row]
    left_out: dict[int, str] = field(default_factory=dict)  # number -> why


def evaluate(
    *,
    events: Events,
    models: Sequence[Mapping[str, Any]],
    sets: Sequence[Mapping[str, Any]],
    out: str,
) -> dict[str, Any]:
    """Score every set with every model, and write what was found to the JSON file `out`.

    `models`: {name (before, after), said (what it is called meanwhile), model
    (process/chatting.py: SpokenModel)}; `sets`: {name, rows_path, samples (None: all), kind,
    most_new}. Each set is scored on the same rows in the same order by all models. Raises
    ModelError for a model without a chat template, EngineError where there is no memory.
    """
    usable: dict[str, Usable] = {}
    scores: dict[str, dict[str, Any]] = {it["name"]: {} for it in sets}
    model, settings = None, None
    for asked in models:
        speaker = asked["model"]
        wanted = speaker["settings"], speaker["served"], adapters_of(speaker)
        if model is None or settings != wanted:
            events.stage("load")
            del model
            free_device_memory()
            settings = wanted
            model = load(speaker, is_asked=any(it["kind"] != "text" for it in sets))
        with with_adapter(model.model, speaker["adapter"]):
            for it in sets:
                known = usable.get(it["name"]) or usable_rows(model, it)
                usable[it["name"]] = known
                events.stage(f"score_{asked['said']}", len(known.rows), it["unit"])
                scores[it["name"]][asked["name"]] = scored(model, known.rows, it, events)
    found = {
        name: {"rows": it.numbers, "left_out": it.left_out, **scores[name]}
        for name, it in usable.items()
    }
    write_text(Path(out), msgspec.json.encode(found).decode())
    return {name: len(it.rows) for name, it in usable.items()}


def scored(
    model: MediaModel, rows: Sequence[Row], asked: Mapping[str, Any], events: Events
) -> dict[str, Any]:
    """The scores of these rows. Raises EngineError where there is no memory for one of them."""
    scoring = Scoring("", len(rows), asked["kind"], limit=limit_of(rows, asked["most_new"]))
    try:
        return score_rows(model, rows, scoring, events, "score")
    except NotScored as error:
        raise EngineError(f"The rows cannot be scored: {error}.") from error


def limit_of(rows: Sequence[Row], wished: int | None) -> Limit:
    """Tokens of an answer: as many as are wished, else by the expected ones, if there are some."""
    if wished is not None:
        return Limit(wished, exactly=True)
    return Limit(MANY) if any(map(is_answered, rows)) else Limit(exactly=True)


def load(model: Mapping[str, Any], *, is_asked: bool) -> MediaModel:
    """The model with its adapters; answers end where a server ends them."""
    found = loaded(model["settings"], model["served"])
    if is_asked:
        name = model["settings"]["model_name_or_path"]
        require_template(name, found.tokenizer, model["served"])
    found.stop_ids = stop_ids_of(found.model, found.tokenizer, found.stop_ids)
    adapters = adapters_of(model)
    found.model = attached(found.model, adapters)
    require_read(found.model, adapters)
    return found


def usable_rows(model: MediaModel, asked: Mapping[str, Any]) -> Usable:
    """The rows of a set, without those that this model cannot be asked: each with the reason."""
    read = first_rows(Path(asked["rows_path"]), asked["samples"] or MANY)
    rows = dict(enumerate(map(_wanted, read)))
    left_out = {
        number: "it is marked as a bad answer, which is not expected"
        for number, row in rows.items()
        if row.get("label") is False
    }
    if asked["kind"] != "text":
        waiting = [n for n, row in rows.items() if n not in left_out and not any(media_of(row))]
        left_out |= _refused(model, {number: rows[number] for number in waiting})
    kept = [number for number in rows if number not in left_out]
    kept.sort(key=lambda number: any(media_of(rows[number])))
    if not kept:
        reasons = "; ".join(dict.fromkeys(left_out.values())) or "there are none"
        raise DataError(
            f"No row of {asked['rows_path']} can be scored: {reasons}.",
            fix="give a file with other rows (--dataset_path)",
        )
    return Usable(kept, [rows[number] for number in kept], dict(sorted(left_out.items())))


def _wanted(row: Row) -> Row:
    """A comparison as the dialogue with its chosen answer."""
    return {
        name: value
        for name, value in with_answer(row).items()
        if name not in ("chosen", "rejected")
    }


def _refused(model: MediaModel, rows: Mapping[int, Row]) -> dict[int, str]:
    """Rows that the template refuses, or that are longer than the model can read."""
    context = getattr(model.model.config.get_text_config(), "max_position_embeddings", None)
    left_out: dict[int, str] = {}
    try:
        pairs = dict(zip(rows, model.prompts.pairs([*rows.values()]), strict=True))
    except DataError:  # some of them
        pairs = {}
        for number, row in rows.items():
            try:
                (pairs[number],) = model.prompts.pairs([row])
            except DataError as error:
                left_out[number] = error.why or error.what
    for number, (prompt, answer) in pairs.items():
        if context is not None and len(prompt) + len(answer) > context:
            length = counted(len(prompt) + len(answer), "token")
            left_out[number] = f"it has {length}, and the model reads {context:,}"
    return left_out
