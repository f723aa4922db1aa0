"""Scores on held-out rows: answers, which of them are right and stop, the loss of them, and
rewards where preferences are trained."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model

from fine_tuning.disk.files import read_json, write_text
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.mended import mended_loading
from fine_tuning.engine.worker.loading.tokenizer import whole_tokenizer
from fine_tuning.engine.worker.rows import first_rows
from fine_tuning.engine.worker.scoring.asking import (
    NotScored,
    Part,
    judged,
    losses_of,
    of_documents,
    of_media,
    of_text,
)
from fine_tuning.engine.worker.scoring.foretold import Foretold, foretell, foretell_media
from fine_tuning.engine.worker.scoring.general import general_scores
from fine_tuning.engine.worker.scoring.generate import (
    Limit,
    Progress,
    RowLoss,
    scoring_mode,
)
from fine_tuning.engine.worker.scoring.inputs.batches import free_device_memory
from fine_tuning.engine.worker.scoring.inputs.prompts import prompts_of, question_of
from fine_tuning.engine.worker.scoring.inputs.with_media import MediaModel
from fine_tuning.engine.worker.scoring.rewards.rewarded import score_rewards
from fine_tuning.engine.worker.scoring.rewards.values import implicit_rewards, reward_metrics
from fine_tuning.engine.worker.tokens.counting.media import media_of
from fine_tuning.engine.worker.tokens.rendering import with_answer
from fine_tuning.engine.worker.tokens.views import decoded
from fine_tuning.engine.worker.training.adapters.peft import engine_arguments, installed
from fine_tuning.values.answers.scores import Scored

SCORED_ANEW = "delete it and repeat the command: what is scored next is kept anew"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Scoring:
    """What is scored: the held-out rows, at most `samples` of them, by which measures.

    `kind` and `reward` are those of values/tables/objectives.py; `beta` scales an implicit reward.
    """

    rows_path: str
    samples: int
    kind: str
    general: str = ""  # general rows, to see what is forgotten
    general_samples: int = 0  # so many of these are answered
    served: Mapping[str, Any] | None = None  # how rows are encoded ahead (values/tokens.py: Served)
    reward: str | None = None
    beta: float = 1.0
    limit: Limit = Limit()  # of an answer
    online: Mapping[str, Any] | None = None  # what judges the answers, where these are judged


def template_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the engine's settings that decide how a conversation is rendered."""
    names = ("template", "enable_thinking", "default_system", "tool_format")
    return {name: settings[name] for name in names if name in settings}


def score_model(
    model: MediaModel, scoring: Scoring, events: Events, stage: str, before: Scored | None = None
) -> dict[str, Any]:
    """The scores of the first rows of a file, as `score_rows` gives them, and those of the general
    ones, which show what is forgotten."""
    rows = first_rows(Path(scoring.rows_path), scoring.samples)
    scores = score_rows(model, rows, scoring, events, stage, before)
    if scoring.general:
        path = Path(scoring.general)
        scores |= general_scores(model, path, scoring.general_samples, events.note, before)
    return scores


def score_rows(
    model: MediaModel,
    rows: Sequence[Row],
    scoring: Scoring,
    events: Events,
    stage: str,
    before: Scored | None = None,
) -> dict[str, Any]:
    """Metrics and, per row, its loss, the prompt, the expected and the given answer.

    `exact_match` is the share of answers equal to the expected text but for white space around
    it; `loss` is in nats per answer token; `stops` the share of answers that the model ended by
    itself. Rows with media come after the others. A prompt alone has no loss, and where there are
    such, none is right or wrong. Implicit rewards are against `before`; without it the model is its
    own reference. Raises NotScored if the model cannot be asked about the rows, or if there is no
    memory for it.
    """
    with scoring_mode(model.model):
        if scoring.reward == "head":
            rewards = judged(model, rows, events.note)
            judged_so = {"n": len(rows), **reward_metrics(rewards)}
            return {"metrics": judged_so, "rewards": rewards, "losses": [], "samples": []}
        if scoring.online:
            told = progress_of(events, stage, len(rows))
            return score_rewards(model, rows, scoring.online, told(0), events.note)
        asked, rejected = wanted_and_not(rows)
        parts = _answered(model, asked, scoring, events, stage)
        others = [loss for part in parts for loss in part.rejected]
        others += losses_of(model, rejected, events.note)
    losses = [loss for part in parts for loss in _losses(part, scoring.kind)]
    tokens = sum(count for _, count in losses)
    metrics: dict[str, float | None] = {"n": len(asked), "tokens": tokens}
    if tokens:
        loss = sum(summed for summed, _ in losses) / tokens
        metrics |= {"loss": loss, "perplexity": (math.exp(loss) if loss < 700 else math.inf)}
    scores: dict[str, Any] = {"metrics": metrics, "losses": losses, "samples": []}
    if scoring.kind == "answers":
        scores["samples"] = [sample for part in parts for sample in _samples(model.tokenizer, part)]
        if all(map(is_answered, asked)):
            right = [sample["answer"] == sample["expected"] for sample in scores["samples"]]
            metrics["exact_match"] = _share(right)
        metrics["stops"] = _share([sample["stopped"] for sample in scores["samples"]])
    if scoring.reward is not None and others:
        now = losses, others
        then = (before.losses, before.rejected_losses) if before is not None else now
        paired = not rejected
        scores["rejected_losses"] = others
        if [*map(len, now)] == [*map(len, then)]:
            rewards = implicit_rewards(scoring.reward, scoring.beta, now, then, paired=paired)
            scores["rewards"] = rewards
            metrics |= reward_metrics(rewards)
    return scores


def _share(held: Sequence[bool]) -> float:
    return sum(held) / len(held) if held else math.nan


def wanted_and_not(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Rows whose answer is wanted, and those that are marked as bad (kto)."""
    sides: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        sides[row.get("label") is False].append(row)
    return sides


def progress_of(
    events: Events, stage: str, rows: int, foretold: Foretold | None = None
) -> Callable[[int], Progress]:
    """How far the scoring is, after so many rows of another part."""
    said = foretold or Foretold(events.note)

    def progress(before: int) -> Progress:
        def told(done: int, _: int) -> None:
            events.progress(before + done, rows, stage=stage)
            said(before + done, rows)

        return told

    return progress


def _answered(
    model: MediaModel, rows: Sequence[Row], scoring: Scoring, events: Events, stage: str
) -> list[Part]:
    text = [row for row in rows if not any(media_of(row))]
    seen = [row for row in rows if any(media_of(row))]
    if scoring.kind == "text":
        return [of_documents(model, text, events.note)]
    foretold, limit = Foretold(events.note), scoring.limit
    seconds = foretell(model, model.prompts.pairs(text), limit)
    foretold.before(seconds + foretell_media(model, seen, limit), len(rows))
    progress = progress_of(events, stage, len(rows), foretold)
    parts = [of_text(model, text, progress(0), events.note, limit=limit)]
    return [*parts, of_media(model, seen, progress(len(text)), limit=limit)] if seen else parts


def is_answered(row: Row) -> bool:
    """Whether a conversation says what is expected; else it is a prompt alone."""
    return bool(str(with_answer(row)["conversations"][-1]["value"]).strip())


def _losses(part: Part, kind: str) -> list[RowLoss]:
    """Those of the expected answers; a document is its own."""
    if kind == "text":
        return [*part.losses]
    rows = zip(part.rows, part.losses, strict=True)
    return [loss if is_answered(row) else (0.0, 0) for row, loss in rows]


def _samples(tokenizer: Any, part: Part) -> Iterator[dict[str, Any]]:
    for row, (prompt, expected), given in zip(part.rows, part.pairs, part.answers, strict=True):
        yield {
            "prompt": decoded(tokenizer, prompt),
            "question": question_of(row),
            "expected": tokenizer.decode(expected, skip_special_tokens=True).strip()
            if is_answered(row)
            else "",
            "answer": given.text.strip(),
            "tokens": given.tokens,
            "stopped": given.stopped,
        }


def loaded(
    settings: Mapping[str, Any], served: Mapping[str, Any] | None, *, value_head: bool = False
) -> MediaModel:
    """The model that these settings of LLaMA-Factory load, asked as `served` says."""
    model_args, data_args, finetuning_args, _ = get_infer_args(engine_arguments(settings))
    module = whole_tokenizer(model_args)
    tokenizer = module["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    prompts = prompts_of(template, tokenizer, served)
    dtype = None if torch.cuda.is_available() else torch.float32
    with installed(settings), mended_loading(dtype):
        network = load_model(tokenizer, model_args, finetuning_args, add_valuehead=value_head)
    return MediaModel(network, tokenizer, template, module["processor"], prompts)


def score_run(
    *, events: Events, settings: Mapping[str, Any], scoring: Mapping[str, Any], out: str, name: str
) -> dict[str, Any]:
    """Load a model (with adapter, if `settings` name one) by itself and score it.

    Used where the model that was trained is not in this process, as after torchrun.
    """
    wanted = Scoring(**scoring)
    if wanted.reward == "head" and name == "before":
        return {}  # a value head that is not trained is not there yet
    model = loaded(settings, wanted.served, value_head=wanted.reward == "head")
    try:
        before = scored_before(Path(out)) if name == "after" else None
        scores = score_model(model, wanted, events, name, before)
    except NotScored as error:
        events.note(not_scored_text(error))
        return {}
    finally:
        del model  # this process may stay beside the training
        free_device_memory()
    write_scores(Path(out), name, scores)
    return dict(scores["metrics"])


def scored_before(path: Path) -> Scored | None:
    """What was scored before the training, by this process or an earlier one; None: nothing."""
    known = read_json(path, SCORED_ANEW).get("before")
    return None if known is None else msgspec.convert(known, Scored)


def not_scored_text(error: NotScored) -> str:
    """What the user is told where the held-out rows could not be scored."""
    return f"the held-out rows are not scored: {error}"


def write_scores(path: Path, name: str, scores: Mapping[str, Any]) -> None:
    """Add the scores under `name` to the JSON file; numbers that are not finite are null."""
    known = read_json(path, SCORED_ANEW)
    known[name] = scores
    write_text(path, msgspec.json.format(msgspec.json.encode(known), indent=1).decode())
