"""`runs watch`: a run that another process is at work on, followed until it ends."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from fine_tuning import report
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.runs.compare import named_runs
from fine_tuning.cli.runs.summary import RunSummary, State, of_record, state_of
from fine_tuning.cli.screens.progress import stage_text
from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.disk.paths import shown
from fine_tuning.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, UsageError
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.screen import Screen
from fine_tuning.units import duration_text
from fine_tuning.values.record import RunRecord, Stages, result_of

EVERY_S = 0.5
LOG = "trainer_log.jsonl"  # llamafactory/train/callbacks.py: LogCallback
# What is logged, by the names that a screen knows.
FACTS = {
    "loss": "loss",
    "lr": "learning_rate",
    "eval_loss": "eval_loss",
    "throughput": "tokens_per_second",
    "epoch": "epoch",
}
CODES: Mapping[State, int] = {
    "done": EXIT_DONE,
    "dry_run": EXIT_DONE,
    "interrupted": EXIT_INTERRUPTED,
}


def run(job: Resolved) -> Outcome[RunSummary]:
    """Follow the run; gives its state when it ended, or when the watching did."""
    words: Sequence[str] = job.options["run"] or ()
    if len(words) != 1:
        raise UsageError("`runs watch` takes one run: its folder.")
    (known,) = named_runs(words)
    folder = RunFolder(known.path)
    record = known.record
    with open_screen() as screen:
        try:
            record = follow(folder, record, screen)
        except KeyboardInterrupt:
            screen.say("The run goes on.")
            return Outcome(of_record(known.path, record), EXIT_INTERRUPTED)
        summary = of_record(known.path, record)
        for line in ending(summary, record):
            screen.say(line)
    return Outcome(summary, CODES.get(summary.state, EXIT_FAILED))


def follow(folder: RunFolder, record: RunRecord, screen: Screen) -> RunRecord:
    """Draw what is done and logged until the run is no longer at work; gives its last record."""
    told, log = Told(screen), Log(folder.path / LOG)
    while True:
        is_over = state_of(folder, record) != "running"
        told.stages(record.stages)
        plan = result_of(record.stages.plan)
        if plan and record.begun is not None:
            told.logged([*log.read()])
        record = read_record(folder) or record
        if is_over:
            told.end(record.stages)
            return record
        time.sleep(EVERY_S)


@dataclass
class Told:
    """What the screen has been told already."""

    screen: Screen
    known: set[str] = field(default_factory=set)
    is_training: bool = False

    def stages(self, stages: Stages) -> None:
        """Each stage once, when it is done; the training is drawn by its log."""
        for item in fields(stages):
            done = getattr(stages, item.name)
            if done is None or item.name in self.known:
                continue
            self.known.add(item.name)
            if item.name == "train" and self._end_training():
                continue
            self.screen.say(f"{stage_text(item.name)}: done [{duration_text(done.seconds)}]")

    def logged(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Lines of the log, as one step: what was logged before somebody watched took no time that
        the speed could be told from."""
        if "train" in self.known:
            return
        entry: dict[str, Any] = {}
        for one in entries:
            entry |= one
        step, steps = entry.get("current_steps"), entry.get("total_steps")
        if not isinstance(step, int) or not isinstance(steps, int):
            return
        if not self.is_training:
            self.screen.begin("train", steps, "steps")
            self.is_training = True
        facts = {ours: entry[theirs] for theirs, ours in FACTS.items() if theirs in entry}
        self.screen.advance(step, steps, facts=facts)

    def end(self, stages: Stages) -> None:
        """The run is no longer at work."""
        self.stages(stages)
        if self.is_training:
            self.screen.end("not finished")

    def _end_training(self) -> bool:
        """Whether there was a bar to end."""
        was_drawn, self.is_training = self.is_training, False
        if was_drawn:
            self.screen.end("")
        return was_drawn


@dataclass
class Log:
    """Lines of a log that grows; one that has become shorter was begun anew."""

    path: Path
    place: int = 0

    def read(self) -> Iterator[Mapping[str, Any]]:
        """The whole lines that were added since."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self.place:
                    self.place = 0
                file.seek(self.place)
                added = file.read()
        except OSError:
            return
        whole = added[: added.rfind(b"\n") + 1]
        self.place += len(whole)
        for line in whole.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry


def ending(summary: RunSummary, record: RunRecord) -> Iterator[str]:
    """How it ended, and what came of it."""
    if summary.state == "ended":
        yield "Its process has gone without a word: repeat its command, which continues it."
    else:
        yield f"The run is {summary.state.replace('_', ' ')}."
    if record.failure is not None and summary.state in ("failed", "interrupted"):
        yield str(record.failure.what)
        if record.failure.fix:
            yield f"next: {record.failure.fix}"
    if summary.state == "done":
        yield from report.score_lines(summary.path)
    if summary.report is not None:
        yield f"Report: {shown(summary.report)}"
