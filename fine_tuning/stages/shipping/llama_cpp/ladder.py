"""ladder: what each smaller size of the model costs, on the rows that the run held out."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from statistics import median
from typing import Any, ClassVar

import numpy as np

from fine_tuning.disk import hashes
from fine_tuning.disk.paths import shown
from fine_tuning.engine.process.chatting import SpokenModel
from fine_tuning.engine.process.launch import Worker
from fine_tuning.errors import UsageError
from fine_tuning.measures.compare import score_of
from fine_tuning.measures.metrics import METRICS, mean
from fine_tuning.measures.paired import change_interval
from fine_tuning.report.told.ladder import COLUMNS, cells, fallback_text, legend
from fine_tuning.screen import Screen, worker_events
from fine_tuning.ship.ladder import ROUNDS, measured, threads_for
from fine_tuning.ship.llama_cpp.measure import Measured
from fine_tuning.stages.asking import chat
from fine_tuning.stages.planned import planned_in
from fine_tuning.units import counted
from fine_tuning.values.answers.ladder import Ladder, Rung
from fine_tuning.values.answers.scores import Answer, Scored
from fine_tuning.values.record import Stages, result_of
from fine_tuning.values.results import GgufFile
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.gguf import GGUF_TYPES

USUAL_ROWS = 100  # where the training itself scored none
NO_ROWS = "--gguf ladder compares sizes on held-out rows, and this run held none out."


@dataclass(frozen=True, kw_only=True)
class Climb:
    """Measure `files`, of which the first is not quantised, on the rows in `rows`.

    `model` says how rows are put to it."""

    name: ClassVar[str] = "ladder"
    files: tuple[GgufFile, ...]
    rows: Path
    samples: int
    asks: bool
    model: SpokenModel
    worker: Worker
    log: Path

    def inputs(self) -> tuple[Any, ...]:
        return ([file.hash for file in self.files], hashes.of(self.rows), self.samples)

    def holds(self, known: Ladder) -> bool:
        """Its files are there."""
        return all(rung.path.is_file() for rung in known.rungs)

    def do(self, screen: Screen) -> Ladder:
        request = {
            "model": asdict(self.model),
            "rows_path": str(self.rows),
            "samples": self.samples,
        }
        asked = self.worker.request("held_out_pairs", request, worker_events(screen))
        if not asked["pairs"]:
            raise UsageError(NO_ROWS, fix="give rows of text with --val_dataset_path")
        screen.begin("ladder", len(self.files) * len(asked["pairs"]), "rows")

        def told(what: str, done: int, total: int) -> None:
            if what != "speed":
                screen.advance(done, total)

        found = measured(
            [file.path for file in self.files],
            [(tuple(prompt), tuple(answer)) for prompt, answer in asked["pairs"]],
            stop_ids=asked["stop_ids"],
            asks=self.asks,
            most_new=asked["most_new"],
            log=self.log,
            told=told,
        )
        screen.end(counted(len(self.files), "size"))
        rungs = tuple(
            rung_of(file, one, found[0]) for file, one in zip(self.files, found, strict=True)
        )
        return Ladder(
            rungs=rungs,
            recommended=recommended(rungs),
            rows=len(asked["pairs"]),
            tokens=sum(row.tokens for row in found[0].rows),
            threads=threads_for(self.files[0].path),
            rounds=ROUNDS,
        )

    def tell(self, result: Ladder, screen: Screen, *, known: bool) -> None:
        for line in (*table_lines(result), *advice(result)):
            screen.say(line)


def rung_of(file: GgufFile, found: Measured, first: Measured) -> Rung:
    """One file beside the one that is not quantised."""
    before, after = scored(first), scored(found)
    loss = score_of(METRICS["loss"], before, after)
    right = score_of(METRICS["exact_match"], before, after)
    is_first = found is first
    tokens = sum(row.tokens for row in found.rows)
    apart = np.array([[row.divergence, row.tokens] for row in found.rows])
    loss_change = loss.change if loss and not is_first else None
    right_change = right.change if right and not is_first else None
    worse = {
        "loss": loss_change is not None and loss_change[0] > 0,
        "exact_match": right_change is not None and right_change[1] < 0,
    }
    return Rung(
        type=file.type,
        path=file.path,
        bytes=file.bytes,
        stored=found.stored,
        prompt_speed=round(median(found.prompt_speeds), 1),
        answer_speed=round(median(found.answer_speeds), 1),
        loss=sum(row.loss for row in found.rows) / tokens,
        loss_change=loss_change,
        exact_match=right.after if right else None,
        exact_match_change=right_change,
        divergence=None if is_first else float(apart[:, 0].sum() / tokens),
        divergence_interval=None if is_first else change_interval(apart * [0, 1], apart, mean),
        same_top=None if is_first else sum(row.same for row in found.rows) / tokens,
        worse=tuple(name for name, is_worse in worse.items() if is_worse),
    )


def scored(found: Measured) -> Scored:
    """What was found as scores, for the same arithmetic as before and after a training."""
    samples = tuple(
        Answer(question="", expected=row.expected, answer=row.answer, stopped=row.stopped)
        for row in found.rows
        if row.expected
    )
    return Scored(
        metrics={"n": len(found.rows)},
        losses=tuple((row.loss, row.tokens) for row in found.rows),
        samples=samples,
    )


def recommended(rungs: Sequence[Rung]) -> str:
    """The smallest that is not measurably worse; the first is never worse than itself."""
    return min((rung for rung in rungs if not rung.worse), key=lambda rung: rung.bytes).type


def table_lines(ladder: Ladder) -> Iterator[str]:
    """The table as lines of text, and what its columns are."""
    rows = [COLUMNS, *map(cells, ladder.rungs)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    for row in rows:
        padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()
    yield legend(ladder)


def advice(ladder: Ladder) -> Iterator[str]:
    """Which to take, which tensors are not in the format of the file's name, what may go."""
    chosen = next(rung for rung in ladder.rungs if rung.type == ladder.recommended)
    yield (
        f"Recommended: {chosen.type} ({shown(chosen.path)}), the smallest that is not measurably "
        "worse. More rows (--score_samples, --val_size) tell smaller differences."
    )
    for rung in ladder.rungs:
        if line := fallback_text(rung):
            yield f"note: {line}"
    others = [quote(shown(rung.path)) for rung in ladder.rungs if rung is not chosen]
    if others:
        yield "All are kept; the others may go:"
        yield f"    rm {' '.join(others)}"


def refuse_without_run(spec: RunSpec) -> None:
    """Raise for a model of which nobody knows rows that it was not trained on."""
    if spec.climbs:
        raise UsageError(
            "--gguf ladder compares sizes on the rows that a run held out, and no run made this "
            "model.",
            fix="name the run with --output_dir, or the formats: --gguf q8_0 q4_k_m",
        )


def refuse_unmakeable(spec: RunSpec, stages: Stages) -> None:
    """Raise before the training where no rows would be held out."""
    parts = result_of(stages.split)
    held_out = parts.val_rows if parts else spec.val_size or spec.val_dataset_path
    if spec.climbs and not held_out:
        raise UsageError(NO_ROWS, fix="hold some out with --val_size or --val_dataset_path")


def of_run(spec: RunSpec, run_dir: Path, stages: Stages, worker: Worker) -> Climb | None:
    """The ladder of a run's GGUF files; None unless it was asked for."""
    made, parts, plan = result_of(stages.gguf), result_of(stages.split), result_of(stages.plan)
    if not spec.climbs or made is None or parts is None or plan is None:
        return None
    if parts.val_path is None or not parts.val_rows:
        raise UsageError(NO_ROWS, fix="hold some out with --val_size or --val_dataset_path")
    by_type = {file.type: file for file in made.files}
    first, *others = (it for it in spec.gguf_types if it in by_type)
    others.sort(key=lambda it: -GGUF_TYPES[it].bits)
    return Climb(
        files=tuple(by_type[it] for it in (first, *others)),
        rows=parts.val_path,
        samples=spec.score_samples or USUAL_ROWS,
        asks=plan.rows.kind != "text",
        model=chat.voices_of_training(planned_in(run_dir, stages, spec)).tuned,
        worker=worker,
        log=run_dir / "logs" / "engine.log",
    )
