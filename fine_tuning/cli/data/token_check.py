"""What `validate` adds with --model_name_or_path: template, token lengths, and rows as trained."""

import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from fine_tuning.cli.data.review import Reviewed, review
from fine_tuning.cli.data.validate import Validated
from fine_tuning.cli.data.validate import run as check_data
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.dataset.insight.rows import read_origins
from fine_tuning.dataset.prepare.fit import Fit
from fine_tuning.errors import UsageError
from fine_tuning.escaping import visible
from fine_tuning.screen import Screen
from fine_tuning.stages.preparing.split import fits_of, outcome_text, outcomes
from fine_tuning.stages.preparing.tokens import token_warnings, tokens_of
from fine_tuning.values.data import CheckedData
from fine_tuning.values.shown import MaskedRow, Span
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.objectives import stage_mismatch
from fine_tuning.values.tokens import RowView, TokenLook

SHOWN = re.compile(r"\d+|longest|truncated|#\d+")
NEED_A_MODEL = ("template", "max_seq_length", "overlong", "show")


def validate(job: Resolved) -> Outcome[Validated | Reviewed]:
    """The `validate` command: the check of the data, then the look at its tokens."""
    spec = job.spec
    if job.options["ledger"] is not None:
        return review(job)
    show: Sequence[str] = job.options["show"] or ()
    typed = [name for name, source in job.sources.items() if source == "you"]
    refuse_unusable_flags(spec, [*typed, *(["show"] if show else [])], show)
    for warning in job.warnings:
        print(visible(f"warning: {warning}"), file=sys.stderr)

    def after(data: CheckedData, screen: Screen) -> TokenLook | None:
        refuse_stage(spec, data)
        if spec.model_name_or_path is None:
            return None
        return look(spec, show, data, screen)

    report: Path | None = job.options["report"]
    paths = spec.val_dataset_path
    return check_data(spec.data, report, validation_paths=paths, after=after, lang=spec.lang)


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
        found = tokens_of(
            spec.replace(use_cpu=True), data, Path(folder), show=show or ("1",), screen=screen
        )
    for line in summary(found):
        screen.say(line)
    fits = fits_of(spec, data, found)
    for outcome, rows in outcomes(fits).items():
        screen.warn(outcome_text(outcome, rows))
    if len(fits.training.dropped) == found.rows:
        screen.warn("no row is left to train on: raise --max_seq_length")
    for warning in token_warnings(found):
        screen.warn(warning)
    if show:
        origins = read_origins(data.origins_path, [file.path for file in data.files])
        screen.masked(masked_rows(found.views, fits.training, origins.place))
        for word in show:
            if word.startswith("#") and int(word[1:]) >= found.rows:
                screen.warn(f"--show {word}: the kept rows count from #0 to #{found.rows - 1}")
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


def _fate(row: int, fit: Fit) -> str:
    if row in fit.dropped:
        return "; longer than the cutoff: a run drops it"
    if rounds := fit.keep_rounds.get(row):
        return f"; longer than the cutoff: a run keeps {rounds} of {len(fit.rounds[row])} rounds"
    return "; cut off here by the engine" if row in fit.truncated else ""


def masked_rows(views: Sequence[RowView], fit: Fit, place: Callable[[int], str]) -> list[MaskedRow]:
    """The worker's views for the screen."""
    titled = (
        (view, f"row #{view.row}, {place(view.row)}: {view.tokens:,} tokens") for view in views
    )
    return [
        MaskedRow(
            title=f"{title}, {view.trained:,} trained{_fate(view.row, fit)}",
            spans=tuple(Span(text, trained) for text, trained in view.spans),
        )
        for view, title in titled
    ]
