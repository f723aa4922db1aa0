"""Scores on held-out rows: exact match by generation, loss and perplexity of the answers."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model, load_tokenizer

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading import mended_loading
from fine_tuning.engine.worker.rows import first_rows
from fine_tuning.engine.worker.scoring.batches import OutOfMemory, Said, free_device_memory
from fine_tuning.engine.worker.scoring.generate import (
    Progress,
    RowLoss,
    answer,
    answer_loss,
    answer_loss_with_media,
    answer_with_media,
    scoring_mode,
)
from fine_tuning.engine.worker.scoring.prompts import prompts_of
from fine_tuning.engine.worker.scoring.with_media import MediaModel
from fine_tuning.engine.worker.tokens.media import media_of
from fine_tuning.engine.worker.tokens.views import decoded
from fine_tuning.engine.worker.training.adapters import engine_arguments, installed
from fine_tuning.files import read_json, write_text
from fine_tuning.units import duration_text

LESS = "a smaller --max_seq_length helps, and --score_samples 0 leaves the scoring out"


LONG_S = 60  # a minute that nobody was told of is long


class NotScored(Exception):
    """Why the held-out rows cannot be scored: the model is trained all the same."""


@dataclass(frozen=True)
class Scoring:
    """What is scored: the held-out rows, at most `samples` of them, by which measures."""

    rows_path: str
    samples: int
    kind: str
    served: Mapping[str, Any] | None = None  # how rows are encoded ahead (values/tokens.py: Served)


class Foretold:
    """Says once, after the first answers, that the others take long, and what would shorten it."""

    def __init__(self, note: Said, clock: Callable[[], float] = time.monotonic) -> None:
        self._note: Said | None = note
        self._clock = clock
        self._began = clock()

    def __call__(self, done: int, total: int) -> None:
        left = (self._clock() - self._began) / max(1, done) * (total - done)
        if self._note is not None and left > LONG_S:
            self._note(
                f"Scoring takes about {duration_text(left)} more; --score_samples scores fewer "
                f"than {total:,} rows, or none (0)."
            )
            self._note = None


def template_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the engine's settings that decide how a conversation is rendered."""
    names = ("template", "enable_thinking", "default_system", "tool_format")
    return {name: settings[name] for name in names if name in settings}


@dataclass(frozen=True)
class _Scored:
    """Rows with their prompts and answers as ids, the loss of each of these answers, and what the
    model answered (to documents: nothing)."""

    rows: Sequence[Mapping[str, Any]]
    pairs: Sequence[tuple[list[int], list[int]]]
    losses: Sequence[RowLoss]
    answers: Sequence[str]


def score_model(model: MediaModel, scoring: Scoring, events: Events, stage: str) -> dict[str, Any]:
    """Metrics and, per row, its loss, the prompt, the expected and the given answer.

    `exact_match` is the share of answers equal to the expected text but for white space around
    it; `loss` is in nats per answer token. Rows with media come after the others. Raises NotScored
    if the model cannot be asked about them, or if there is no memory for it.
    """
    rows = first_rows(Path(scoring.rows_path), scoring.samples)
    text = [row for row in rows if not any(media_of(row))]
    seen = [row for row in rows if any(media_of(row))]

    foretold = Foretold(events.note)

    def progress(before: int) -> Callable[[int, int], None]:
        def told(done: int, _: int) -> None:
            events.progress(before + done, len(rows), stage=stage)
            foretold(before + done, len(rows))

        return told

    with scoring_mode(model.model):
        parts = [_of_text(model, text, scoring.kind, progress(0), events.note)]
        if seen:
            parts.append(_of_media(model, seen, progress(len(text))))
    losses = [loss for part in parts for loss in part.losses]
    tokens = sum(count for _, count in losses)
    loss = sum(summed for summed, _ in losses) / tokens if tokens else math.nan
    metrics = {"loss": loss, "perplexity": _perplexity(loss), "n": len(rows), "tokens": tokens}
    if scoring.kind == "text":
        return {"metrics": metrics, "losses": losses, "samples": []}
    samples = [sample for part in parts for sample in _samples(model.tokenizer, part)]
    right = sum(sample["answer"] == sample["expected"] for sample in samples)
    metrics["exact_match"] = right / len(samples) if samples else math.nan
    return {"metrics": metrics, "losses": losses, "samples": samples}


def _of_text(
    model: MediaModel, rows: Sequence[Mapping[str, Any]], kind: str, progress: Progress, said: Said
) -> _Scored:
    network, tokenizer = model.model, model.tokenizer
    try:
        if kind == "text":
            pairs = [_document_ids(tokenizer, row) for row in rows]
            return _Scored(rows, pairs, answer_loss(network, tokenizer, pairs, said), ())
        pairs = model.prompts.pairs(rows)
        losses = answer_loss(network, tokenizer, pairs, said)
        answers = answer(network, tokenizer, model.prompts.stop_ids, pairs, progress, said)
    except OutOfMemory as error:
        raise NotScored(f"memory ran out with one row at a time ({error}); {LESS}") from error
    return _Scored(rows, pairs, losses, answers)


def _of_media(model: MediaModel, rows: Sequence[Mapping[str, Any]], progress: Progress) -> _Scored:
    try:
        pairs = [model.prompt_and_answer(row) for row in rows]
        losses = answer_loss_with_media(model, rows, pairs)
        return _Scored(rows, pairs, losses, answer_with_media(model, rows, pairs, progress))
    except Exception as error:  # there are many kinds of such models
        asked = f"this model cannot be asked about media ({type(error).__name__}: {error})"
        raise NotScored(asked) from error


def _samples(tokenizer: Any, part: _Scored) -> Iterator[dict[str, Any]]:
    for row, (prompt, expected), text in zip(part.rows, part.pairs, part.answers, strict=True):
        yield {
            "prompt": decoded(tokenizer, prompt),
            "question": question_of(row),
            "expected": tokenizer.decode(expected, skip_special_tokens=True).strip(),
            "answer": text.strip(),
        }


def question_of(row: Mapping[str, Any]) -> str:
    """What was asked: one question as it is, a dialogue with who said what before."""
    turns = [(turn["from"], turn["value"]) for turn in row["conversations"][:-1]]
    if row.get("system"):
        turns.insert(0, ("system", row["system"]))
    if len(turns) == 1:
        return str(turns[0][1])
    return "\n\n".join(f"{role}: {text}" for role, text in turns)


def _document_ids(tokenizer: Any, row: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    ids = tokenizer.encode(row["conversations"][0]["value"], add_special_tokens=False)[:1024]
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else ids[:1]
    return start, ids if tokenizer.bos_token_id is not None else ids[1:]


def _perplexity(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf


def score_run(
    *, events: Events, settings: Mapping[str, Any], scoring: Mapping[str, Any], out: str, name: str
) -> dict[str, Any]:
    """Load a model (with adapter, if `settings` name one) by itself and score it.

    Used where the model that was trained is not in this process, as after torchrun.
    """
    model_args, data_args, finetuning_args, _ = get_infer_args(engine_arguments(settings))
    loaded = load_tokenizer(model_args)
    tokenizer = loaded["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    dtype = None if torch.cuda.is_available() else torch.float32
    with installed(settings), mended_loading(dtype):
        network = load_model(tokenizer, model_args, finetuning_args)
    wanted = Scoring(**scoring)
    prompts = prompts_of(template, tokenizer, wanted.served)
    model = MediaModel(network, tokenizer, template, loaded["processor"], prompts)
    try:
        scores = score_model(model, wanted, events, name)
    except NotScored as error:
        events.note(not_scored_text(error))
        return {}
    finally:
        del model, network  # this process may stay beside the training
        free_device_memory()
    write_scores(Path(out), name, scores)
    return dict(scores["metrics"])


def not_scored_text(error: NotScored) -> str:
    """What the user is told where the held-out rows could not be scored."""
    return f"the held-out rows are not scored: {error}"


def write_scores(path: Path, name: str, scores: Mapping[str, Any]) -> None:
    """Add the scores under `name` to the JSON file; numbers that are not finite are null."""
    known = read_json(path, "delete it and repeat the command: what is scored next is kept anew")
    known[name] = scores
    write_text(path, msgspec.json.format(msgspec.json.encode(known), indent=1).decode())
