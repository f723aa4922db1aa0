"""Sizes of one model beside each other, as text."""

from dataclasses import dataclass

from fine_tuning.units import bytes_text, counted, percent_text
from fine_tuning.values.answers.ladder import Interval, Ladder, Rung
from fine_tuning.values.tables.gguf import BLOCK, GGUF_TYPES

COLUMNS = ("type", "size", "read/s", "write/s", "loss", "change", "exact match", "change", "KL")


def legend(ladder: Ladder) -> str:
    """On what it was measured, and what the columns say."""
    return (
        f"On {counted(ladder.rows, 'held-out row')} ({counted(ladder.tokens, 'token')} of "
        "answers). Changes: 95% interval against the first file, by the same rows; * is "
        "measurably worse. KL: mean divergence of its distributions from the first's, in nats a "
        "token. read/s, write/s: tokens of a prompt and of an answer, measured by turns with "
        f"{counted(ladder.threads, 'thread')}."
    )


def cells(rung: Rung) -> tuple[str, ...]:
    """One line of the table."""
    marks = {name: "*" if name in rung.worse else "" for name in ("loss", "exact_match")}
    return (
        rung.type,
        bytes_text(rung.bytes),
        f"{rung.prompt_speed:,.0f}",
        f"{rung.answer_speed:,.0f}",
        f"{rung.loss:.4f}",
        interval_text(rung.loss_change, "{:+.4f}") + marks["loss"],
        "" if rung.exact_match is None else percent_text(rung.exact_match),
        interval_text(rung.exact_match_change, "{:+.0%}") + marks["exact_match"],
        "" if rung.divergence is None else f"{rung.divergence:.2g}",
    )


def interval_text(interval: Interval | None, form: str) -> str:
    """From its low to its high end; empty without one."""
    return "" if interval is None else f"{form} to {form}".format(*interval)


def fallback_text(rung: Rung) -> str:
    """What a file is stored as, if its own format is not among that."""
    own = GGUF_TYPES[rung.type].main
    if not own or own in rung.stored:
        return ""
    main = [name for name, share in rung.stored.items() if share >= 0.1]
    return (
        f"Nothing in {rung.path.name} is {own}: the rows of this model's tensors are no "
        f"multiple of {BLOCK} numbers, so llama.cpp took {' and '.join(main)}."
    )


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The table on the run's page."""

    recommended: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    legend: str
    notes: tuple[str, ...]


def sizes(ladder: Ladder) -> Sizes:
    """The table on the run's page."""
    return Sizes(
        recommended=ladder.recommended,
        columns=COLUMNS,
        rows=tuple(map(cells, ladder.rungs)),
        legend=legend(ladder),
        notes=tuple(filter(None, map(fallback_text, ladder.rungs))),
    )
