"""Scored sets of rows -> what programs and people are told of them."""

from collections.abc import Callable, Iterator, Sequence

from fine_tuning.escaping import visible
from fine_tuning.measures.compare import compared
from fine_tuning.measures.paired import mcnemar
from fine_tuning.report.pages.shown import clip
from fine_tuning.report.told.scores import Mood, change_text, leading, mood, score_row, value_text
from fine_tuning.units import counted
from fine_tuning.values.answers.evaluation import (
    LeftOut,
    MetricFound,
    RowFound,
    RowsBeside,
    SetFound,
    Verdict,
)
from fine_tuning.values.answers.scores import Score, Scored

MOST = 5  # rows that are named for having gained or lost
SHOWN = 2  # of them on the screen
VERDICTS: dict[Mood, Verdict] = {
    "good": "better",
    "bad": "worse",
    "unsure": "unsure",
    "plain": "none",
}
WORDS: dict[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "unsure": "may be chance",
    "same": "the same",
    "none": "",
}
TOLD: dict[Mood, str] = {
    "good": "better",
    "bad": "worse",
    "unsure": "this may be chance, and more rows would tell",
    "plain": "neither better nor worse",
}
Place = Callable[[int], str]


def set_found(
    name: str,
    source: str,
    numbers: Sequence[int],
    left_out: Sequence[LeftOut],
    place: Place,
    sides: tuple[Scored, Scored],
    own: Sequence[Score] = (),
) -> tuple[SetFound, tuple[Score, ...]]:
    """A set as it is told, and its scores.

    `numbers` are those of its rows in the file, in the order of both sides; `own` are metrics that
    the user brought.
    """
    before, after = sides
    scores = (*compared(before, after), *own)
    rows = [*rows_beside(numbers, place, before, after)]
    gained, lost = gained_and_lost(rows)
    found = SetFound(
        name=name,  # type: ignore[arg-type]  # the stages' own words
        source=source,
        count=len(rows),
        left_out=tuple(left_out),
        metrics=tuple(map(_metric, scores)),
        says=says(leading(scores)),
        gained=gained[:MOST],
        lost=lost[:MOST],
        endless=tuple(i for i, row in enumerate(rows) if row.tuned.stopped is False),
        rows=tuple(rows),
    )
    return found, scores


def says(score: Score) -> str:
    """One sentence: whether there is a difference, and how sure that is."""
    before, after = value_text(score, score.before), value_text(score, score.after)
    rows = counted(score.n, "row")
    if score.before is None or score.after is None:
        return f"{score.name}: {after} on {rows}."
    head = f"{score.name}: {before} -> {after} on the same {rows}"
    if verdict_on(score) == "same":
        return f"{head}: no difference."
    interval = f"95% interval {change_text(score)}" if score.change else "no interval"
    how = f"{interval} points" if score.kind == "share" else interval
    if score.moved is not None:
        gained, lost = score.moved
        p = mcnemar(gained, lost)
        how = f"{gained:,} became right, {lost:,} wrong; McNemar p {p:.2g}; {how}"
    return f"{head}: {TOLD[mood(score)]} ({how})."


def verdict_on(score: Score) -> Verdict:
    """The difference in a word."""
    known = score.before is not None and score.after is not None
    if known and score.before == score.after and score.moved in (None, (0, 0)):
        return "same"
    return VERDICTS[mood(score)]


def _metric(score: Score) -> MetricFound:
    return MetricFound(
        name=score.metric,
        title=score.name,
        base=score.before,
        tuned=score.after,
        interval=score.change,
        moved=score.moved,
        verdict=verdict_on(score),
        says=says(score),
        signature=score.signature,
    )


def gained_and_lost(rows: Sequence[RowsBeside]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The rows that gained and those that lost, by their places here, the most first."""
    order = sorted(range(len(rows)), key=lambda row: _gain(rows[row]), reverse=True)
    gained = tuple(row for row in order if _gain(rows[row]) > (0, 0))
    return gained, tuple(row for row in reversed(order) if _gain(rows[row]) < (0, 0))


def rows_beside(
    numbers: Sequence[int], place: Place, before: Scored, after: Scored
) -> Iterator[RowsBeside]:
    """Each row with what both sides answered."""
    old, new = [*_rows(before)], [*_rows(after)]
    for row, number in enumerate(numbers):
        asked = after.samples[row] if after.samples else None
        yield RowsBeside(
            place=place(number),
            question=asked.question if asked else "",
            expected=asked.expected if asked else "",
            base=old[row] if old else None,
            tuned=new[row],
        )


def _rows(scored: Scored) -> Iterator[RowFound]:
    for row, (nats, tokens) in enumerate(scored.losses):
        told = scored.samples[row] if scored.samples else None
        yield RowFound(
            answer=told.answer if told else "",
            right=told.answer == told.expected if told and told.expected else None,
            stopped=told.stopped if told else None,
            tokens=told.tokens if told else None,
            loss=nats / tokens if nats is not None and tokens else None,
        )


def _gain(row: RowsBeside) -> tuple[float, float]:
    """How much a row gained: to be right counts first, then how much likelier its answer is."""
    if row.base is None:
        return (0, 0)
    right = float(bool(row.tuned.right)) - float(bool(row.base.right))
    if row.base.loss is None or row.tuned.loss is None:
        return (right, 0)
    return (right, row.base.loss - row.tuned.loss)


def lines(found: SetFound, scores: Sequence[Score]) -> Iterator[str]:
    """The table of a set, the sentence, and the rows that a person wants to see."""
    yield from _table(scores)
    for score in scores:
        if score.signature:
            yield f"  {score.name}: {score.signature}"
    yield found.says
    if found.left_out:
        one = found.left_out[0]
        rows = counted(len(found.left_out), "row is", "rows are")
        yield f"{rows} not scored, the first {one.place}: {one.why}"
    alone = [row for row in found.rows if row.question and not row.expected]
    if alone:
        rows = counted(len(alone), "row has", "rows have")
        yield f"{rows} no answer to compare with, the first {alone[0].place}"
    if found.endless:
        rows = counted(len(found.endless), "answer does", "answers do")
        yield f"{rows} not stop, the first of {found.rows[found.endless[0]].place}"
    for title, chosen in (("Gained most", found.gained), ("Lost most", found.lost)):
        for row in chosen[:SHOWN]:
            yield from _row(title, found.rows[row])


def _table(scores: Sequence[Score]) -> Iterator[str]:
    has_base = any(score.before is not None for score in scores)
    table = [("", "base", "tuned", "change (95% interval)", "")] if has_base else []
    for row, score in ((score_row(it), it) for it in scores):
        if has_base:
            change = "" if row.change == "none" else row.change
            table.append((row.name, row.before, row.after, change, WORDS[verdict_on(score)]))
        else:
            table.append((row.name, row.after, "", "", ""))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        yield "  ".join(map(str.ljust, cells, widths)).rstrip()


def _row(title: str, row: RowsBeside) -> Iterator[str]:
    yield f"{title}: {row.place}"
    told = (
        ("asked", row.question),
        ("expected", row.expected),
        ("base", row.base.answer if row.base else ""),
        ("tuned", row.tuned.answer),
    )
    for name, text in told:
        if text:
            yield f"  {name:<9} {visible(clip(' '.join(text.split()), 160))}"
