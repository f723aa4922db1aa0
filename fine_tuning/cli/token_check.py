"""What `validate` adds with --model_name_or_path: template, token lengths, and rows as trained."""

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fine_tuning import pipeline
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.cli.validate import run as check_data
from fine_tuning.dataset.stages import stage_mismatch
from fine_tuning.dataset.types import CheckedData
from fine_tuning.engine.look import RowView, TokenLook
from fine_tuning.errors import UsageError
from fine_tuning.job import telling
from fine_tuning.screen import MaskedRow, Screen, Span
from fine_tuning.spec import RunSpec

SHOWN = re.compile(r"\d+|longest|truncated|#\d+")
NEED_A_MODEL = ("template", "max_seq_length", "show")


def validate(job: Resolved) -> int:
    """The `validate` command: the check of the data, then the look at its tokens."""
    spec = job.spec
    show: Sequence[str] = job.options["show"] or ()
    typed = [name for name, source in job.sources.items() if source == "you"]
    refuse_unusable_flags(spec, [*typed, *(["show"] if show else [])], show)
    for warning in job.warnings:
        print(f"warning: {warning}", file=sys.stderr)

    def after(data: CheckedData, screen: Screen) -> TokenLook | None:
        refuse_stage(spec, data)
        if spec.model_name_or_path is None:
            return None
        return look(spec, show, data, screen)

    report: Path | None = job.options["report"]
    paths = spec.val_dataset_path
    return check_data(spec.data, report, validation_paths=paths, after=after)


def refuse_unusable_flags(spec: RunSpec, given: Sequence[str], show: Sequence[str]) -> None:
    """Raises UsageError for flags that need a tokenizer when no model is named."""
    mistakes = [
        f"--{name} needs the model's tokenizer: add --model_name_or_path."
        for name in NEED_A_MODEL
        if name in given and spec.model_name_or_path is None
    ]
    mistakes += [
        f"--show {word}: give a number of rows, `longest`, `truncated`, or a row as #12."
        for word in show
        if not SHOWN.fullmatch(word)
    ]
    if not spec.data.dataset_path and not spec.data.mix:
        mistakes.append("--dataset_path is needed: files, a directory, or a Hub dataset id.")
    if mistakes:
        raise UsageError(mistakes)


def refuse_stage(spec: RunSpec, data: CheckedData) -> None:
    """Raises UsageError if --stage cannot train on such rows; says which stage can."""
    mismatch = stage_mismatch(data.kind, spec.stage) if spec.stage else None
    if mismatch:
        raise UsageError(mismatch)


def look(spec: RunSpec, show: Sequence[str], data: CheckedData, screen: Screen) -> TokenLook:
    """Let the worker count and render the checked rows with the model's tokenizer; say it.

    Loads no weights. Raises ModelError if there is no such tokenizer.
    """
    with tempfile.TemporaryDirectory(prefix="tokens-") as folder:
        found = pipeline.tokens_of(
            spec.replace(use_cpu=True), data, Path(folder), show=show or ("1",), screen=screen
        )
    for line in summary(found):
        screen.say(line)
    for warning in telling.token_warnings(found):
        screen.warn(warning)
    if show:
        screen.masked(masked_rows(found.views))
    return found


def summary(look: TokenLook) -> list[str]:
    """Template, lengths and cutoff, one line each."""
    template = look.template
    lengths = ", ".join(f"{name} {value:,}" for name, value in look.percentiles.items())
    costs = ", ".join(f"{rows:,} over {cutoff}" for cutoff, rows in look.over.items())
    return [
        f"template: {template.name or 'of the model'} ({template.reason})",
        f"tokens per row: {lengths}",
        f"max_seq_length: {look.cutoff:,}; rows that are longer: {len(look.overlong):,}",
        *([f"rows that other cutoffs would touch: {costs}"] if costs else []),
    ]


def masked_rows(views: Sequence[RowView]) -> list[MaskedRow]:
    """The worker's views for the screen."""
    return [
        MaskedRow(
            title=f"row {view.row}: {view.tokens:,} tokens, {view.trained:,} trained",
            spans=tuple(Span(text, trained) for text, trained in view.spans),
        )
        for view in views
    ]
