"""Looks at the content of rows that are well formed: the second half of a data check."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from fine_tuning.dataset.insight import content, sensitive
from fine_tuning.dataset.insight.findings import Findings, NearFindings
from fine_tuning.dataset.insight.language import languages
from fine_tuning.dataset.insight.lengths import Lengths
from fine_tuning.dataset.insight.near.find import (
    DEFAULT_ROWS,
    THRESHOLD,
    NearDuplicates,
    clusters_path,
    searching,
)
from fine_tuning.dataset.insight.rows import (
    Origins,
    Row,
    decode_rows,
    read_blocks,
    read_origins,
)
from fine_tuning.dataset.insight.suspects import Block, find_suspects
from fine_tuning.values.data import Problem

WARNINGS_PER_CODE = 2000  # named row by row; the rest is counted
_USUAL_SHARE = 0.2  # one-word answers in more rows than this are the task, not an accident
_PUNCTUATED_SHARE = 0.8  # of the long answers; below it, their ends tell nothing
_FEWEST_LONG_ANSWERS = 20
_RARE_LABEL = 0.1
_FEWEST_ALIKE = 5  # rows from which one answer for all is no chance
_MOST_TURNS = 20  # counted by number; more are counted with these

Report = Callable[[Problem], None]
Progress = Callable[[int, int], None]


def examine(
    rows_path: Path,
    origins_path: Path,
    *,
    files: Sequence[str],
    near_duplicates: bool | None,
    problems: Report,
    progress: Progress | None = None,
) -> Findings:
    """Warns about rows that are well formed and still look wrong, and describes the dataset.

    `near_duplicates` None looks for them up to 100,000 rows. Their clusters are written beside the
    rows (`clusters_path`), for the split. Warnings come through `problems`, at most 2,000 of a
    code, in the order of the rows; `progress` gets (rows done, rows in all).
    """
    origins = read_origins(origins_path, files)
    clusters_path(rows_path).unlink(missing_ok=True)
    rows = len(origins)
    wanted = near_duplicates or (near_duplicates is None and rows <= DEFAULT_ROWS)
    watch, spent = _Watch(), {"content": 0.0, "near": 0.0}
    with searching([rows_path], rows) if wanted and rows else nullcontext() as search:
        for block in read_blocks(rows_path):
            decoded = decode_rows(block)
            with _timed(spent, "content"):
                suspects = find_suspects(block)
                watch.look(suspects, decoded)
            if search is not None:
                with _timed(spent, "near"):
                    search.add(0, suspects.data, suspects.ends, decoded)
            if progress:
                progress(watch.rows, rows)
        with _timed(spent, "near"):
            near = search.found() if search is not None else None
    findings = replace(watch.findings(rows), seconds=round(spent["content"], 3))
    watch.report(origins, problems)
    if near is not None:
        near.clusters.tofile(clusters_path(rows_path))
        return _with_near_duplicates(findings, near, origins, problems, spent["near"])
    if near_duplicates is None and rows:
        note = (
            f"near-duplicates were not looked for, because there are {rows:,} rows "
            f"(more than {DEFAULT_ROWS:,}); --near_duplicates true looks for them"
        )
        return replace(findings, notes=(*findings.notes, note))
    return findings


@contextmanager
def _timed(spent: dict[str, float], what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    spent[what] += time.perf_counter() - began


class _Watch:
    """Collects what the rows show; decides at the end which of it deserves a warning."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.turns: Counter[int] = Counter()
        self.labels: Counter[bool] = Counter()
        self.prompts, self.answers = Lengths(), Lengths()
        self.rows = self.long_answers = 0
        self._first: dict[str, list[tuple[int, str]]] = {}
        self._answer: str | None = None  # of the first row
        self._same_answer = 0  # rows with that one

    def look(self, block: Block, rows: Sequence[Row]) -> None:
        """Runs every check on the rows that follow."""
        texts = content.row_texts(rows, block.suspects)
        for check in content.CHECKS:
            for index in check.may_concern(texts):
                if message := check.rule(texts.row(index)):
                    self._note(self.rows + index, check.code, message)
        for index in block.suspects:
            if suspicion := sensitive.suspicion(block.line(index)):
                self._look_for_secrets(self.rows + index, rows[index], suspicion)
        self._answer = texts.answers[0] if self._answer is None and rows else self._answer
        self._same_answer += texts.answers.count(self._answer or "")
        self.long_answers += len(texts.long)
        self.languages.update(languages(texts.bare_answers))
        self.turns.update([len(row.conversations) for row in rows])
        self.prompts.add(texts.prompt_lengths[texts.prompt_lengths > 0])
        self.answers.add(texts.answer_lengths)
        self.labels.update([row.label for row in rows if row.label is not None])
        self.rows += len(rows)

    def _look_for_secrets(self, number: int, row: Row, suspicion: sensitive.Suspicion) -> None:
        seen: dict[str, dict[str, None]] = {}
        for place, text in content.texts_of(row):
            for found in sensitive.find(text, suspicion):
                self.kinds[found.kind] += 1
                what = f"{found.kind} ({found.length} characters) in {place}"
                seen.setdefault(found.code, {})[what] = None
        for code, things in seen.items():
            named = [f"{'an' if thing[0] in 'AaeE' else 'a'} {thing}" for thing in things]
            more = f" and {len(things) - 3} more" if len(things) > 3 else ""
            self._note(number, code, f"looks like it holds {', '.join(named[:3])}{more}")

    def _note(self, number: int, code: str, message: str) -> None:
        self.counts[code] += 1
        first = self._first.setdefault(code, [])
        if len(first) < WARNINGS_PER_CODE:
            first.append((number, message))

    def findings(self, rows: int) -> Findings:
        """The totals; what turns out to be usual in this dataset is a note, not a warning."""
        notes = []
        one_word = self.counts["one_word_answer"]
        if one_word > _USUAL_SHARE * rows:
            notes.append(f"{one_word:,} of {rows:,} answers are one word: taken as the task")
            self._first.pop("one_word_answer")
        if self._same_answer == rows >= _FEWEST_ALIKE:
            shown = sensitive.masked(" ".join((self._answer or "").split())[:60])
            notes.append(f"all {rows:,} answers are the same ({shown}): a model learns to say that")
        open_ends = self._first.pop("ends_mid_sentence", [])
        unfinished = self.counts.pop("ends_mid_sentence", 0)
        finished = self.long_answers - unfinished
        are_many = self.long_answers >= _FEWEST_LONG_ANSWERS
        if are_many and finished >= _PUNCTUATED_SHARE * self.long_answers:
            self.counts["cut_off"] += unfinished
            both = sorted([*self._first.get("cut_off", []), *open_ends])
            self._first["cut_off"] = both[:WARNINGS_PER_CODE]
        for code, first in sorted(self._first.items()):
            if self.counts[code] > len(first):
                notes.append(
                    f"{code}: the first {len(first):,} rows are named, "
                    f"and {self.counts[code] - len(first):,} more are counted"
                )
        return Findings(
            rows=rows,
            counts={code: count for code, count in sorted(self.counts.items()) if count},
            kinds=dict(self.kinds.most_common()),
            languages=dict(self.languages.most_common()),
            prompt_chars=self.prompts.distribution(),
            answer_chars=self.answers.distribution(),
            turns=self._turns(),
            labels={str(label).lower(): count for label, count in self.labels.items()},
            notes=(*notes, *self._label_notes()),
        )

    def _turns(self) -> dict[str, int]:
        counts: Counter[int] = Counter()
        for turns, rows in self.turns.items():
            counts[min(turns, _MOST_TURNS)] += rows
        return {str(turns): rows for turns, rows in sorted(counts.items())}

    def _label_notes(self) -> list[str]:
        total = self.labels.total()
        rare = min(self.labels[True], self.labels[False])
        if not total or rare >= _RARE_LABEL * total:
            return []
        return [
            f"the KTO labels are out of balance: {self.labels[True]:,} true, "
            f"{self.labels[False]:,} false; add rows of the rarer label, or weigh them with "
            "kto_chosen_weight and kto_rejected_weight"
        ]

    def report(self, origins: Origins, problems: Report) -> None:
        """Emits the warnings, in the order of the rows."""
        named = [
            (number, code, message)
            for code, first in self._first.items()
            for number, message in first
        ]
        for number, code, message in sorted(named):
            problems(_warning(origins, number, code, message))


def _warning(origins: Origins, number: int, code: str, message: str) -> Problem:
    file, line = origins.of(number)
    return Problem(file, line, None, code, message, "warning")


def _with_near_duplicates(
    findings: Findings, near: NearDuplicates, origins: Origins, problems: Report, seconds: float
) -> Findings:
    pairs = sorted(near.pairs, key=lambda pair: pair.second)[:WARNINGS_PER_CODE]
    for pair in pairs:
        file, line = origins.of(pair.first)
        message = f"{pair.similarity:.0%} of its text is the same as in {file}:{line}"
        problems(_warning(origins, pair.second, "near_duplicate", message))
    sizes = [size for size in Counter(near.clusters.tolist()).values() if size > 1]
    more = near.found - len(pairs)
    notes = [f"near_duplicate: {len(pairs):,} rows are named, and {more:,} more are counted"]
    counts = {**findings.counts, "near_duplicate": near.found} if near.found else findings.counts
    return replace(
        findings,
        counts=counts,
        near=NearFindings(
            rows=near.found,
            clusters=len(sizes),
            largest_cluster=max(sizes, default=1),
            threshold=THRESHOLD,
            seconds=round(seconds, 3),
        ),
        notes=(*findings.notes, *(notes if more else ())),
    )
