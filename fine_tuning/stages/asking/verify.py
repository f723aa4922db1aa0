"""verify: the first steps of a run are trained again, elsewhere, and compared with what it kept."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from fine_tuning.disk import checkpoints, hashes
from fine_tuning.engine.launchers import launcher_for
from fine_tuning.engine.process.launch import Worker, worker_for
from fine_tuning.engine.trainers.trainer import differences
from fine_tuning.errors import UsageError
from fine_tuning.screen import Screen, worker_events
from fine_tuning.stages.planned import planned_in
from fine_tuning.stages.train import Train
from fine_tuning.units import counted
from fine_tuning.values.record import RunRecord, result_of

DAMAGED = "`run` with its --output_dir makes them anew from the data"


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """A logged loss, then and now."""

    step: Annotated[int, "of the training"]
    then: Annotated[float, "as the run logged it"]
    now: Annotated[float, "trained again"]


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The first steps of a run, trained again on this machine."""

    steps: Annotated[int, "that were trained again"]
    losses: Annotated[tuple[Repeated, ...], "every loss that was logged on the way"]
    weights: Annotated[
        bool | None, "whether the weights are the same bit for bit; null: the run kept no hash"
    ]
    settings: Annotated[tuple[str, ...], "what this program would now give the engine otherwise"]

    @property
    def largest(self) -> float:
        """The largest difference of a loss; 0 if all are the same."""
        return max((abs(it.now - it.then) for it in self.losses), default=0.0)

    @property
    def same(self) -> bool:
        """Whether something could be compared, and nothing of it differs."""
        compared = bool(self.losses) or self.weights is not None
        return compared and self.weights is not False and self.largest == 0.0


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Train the first steps of the run in `run_dir` again in `folder`, which is empty.

    `steps`: how many; None: up to the first at which the run kept the hashes of its weights.
    Raises UsageError for a run whose training has not begun, DataError if its rows have changed.
    """

    run_dir: Path
    record: RunRecord
    folder: Path
    worker: Worker
    steps: int | None = None

    def do(self, screen: Screen) -> Verified:
        train = self._train()
        last = self.steps
        if last is None:  # the first step at which something can be compared
            noted = min(checkpoints.noted_weights(self.run_dir), default=0)
            last = max(noted, train.planned.settings.first_logged)
        again = train.training(None, last_step=last)
        result = launcher_for(again).train(again, self.worker, screen, worker_events(screen))
        if not result["interrupted"]:  # it was trained to its end, which is in the folder itself
            last = max(_logged(self.folder), default=last)
        others = differences(self._begun, train.planned.settings.of_training)
        settings = tuple(f"{name}: {then} then, {now} now" for name, then, now in others)
        return compared(self.run_dir, self.folder, last, settings)

    @property
    def _begun(self) -> Mapping[str, Any]:
        if self.record.begun is None:
            raise UsageError(
                f"The training of the run in {self.run_dir} has not begun.",
                fix="without --verify the command and what differs here are shown",
            )
        return self.record.begun

    def _train(self) -> Train:
        """The run's training with every place in the folder, but its rows."""
        assert self._begun
        spec = self.record.settings.replace(score_samples=0, ledger="off")
        planned = planned_in(self.run_dir, self.record.stages, spec)
        if spec.nnodes > 1:
            raise UsageError("--verify trains on this machine alone, and the run took several.")
        dataset = self.run_dir / "dataset"
        for place in (dataset / "split", dataset / "encoded"):
            hashes.require_unchanged(place, DAMAGED)
        places = replace(planned.places, run_dir=self.folder, dataset_dir=self.folder)
        planned = replace(planned, places=places)
        planned.write()
        return Train(
            planned=planned,
            worker=self.worker,
            encoded=result_of(self.record.stages.encode),
            main=self.folder,
            has_begun=False,
            scores=self.folder / "scores.json",
            log=self.folder / "logs" / "engine.log",
            stop_file=self.folder / "logs" / "stop",
        )


def verified(
    run_dir: Path, record: RunRecord, *, folder: Path, steps: int | None, screen: Screen
) -> Verified:
    """Train the first steps of a run again in another folder; the run is only read."""
    with worker_for(record.settings, folder / "logs" / "engine.log") as worker:
        again = Verify(run_dir=run_dir, record=record, folder=folder, worker=worker, steps=steps)
        return again.do(screen)


def compared(run_dir: Path, folder: Path, last: int, settings: tuple[str, ...] = ()) -> Verified:
    """The run and what was trained again in `folder`, up to the step `last`."""
    then, now = _logged(run_dir), _logged(folder)
    steps = sorted(step for step in then.keys() & now.keys() if step <= last)
    kept, made = (checkpoints.noted_weights(place).get(last) for place in (run_dir, folder))
    return Verified(
        steps=last,
        losses=tuple(Repeated(step=step, then=then[step], now=now[step]) for step in steps),
        weights=kept == made if kept and made else None,
        settings=settings,
    )


def _logged(folder: Path) -> dict[int, float]:
    """The losses of a training by their steps, from its end or its newest checkpoint."""
    states = [folder / "trainer_state.json", *folder.glob("checkpoint-*/trainer_state.json")]
    found: dict[int, float] = {}
    for path in states:
        if not path.exists():
            continue
        for entry in json.loads(path.read_text(encoding="utf-8")).get("log_history", ()):
            if isinstance(loss := entry.get("loss"), int | float) and math.isfinite(loss):
                found[int(entry["step"])] = float(loss)
    return found


def verdict(found: Verified) -> str:
    """What came of it, as a sentence."""
    steps = counted(found.steps, "step")
    losses = counted(len(found.losses), "logged loss", "logged losses")
    if found.same and found.weights:
        return f"The same after {steps}: {losses} and the weights, bit for bit."
    if found.same:
        return f"The same after {steps}: {losses}. The run kept no hash of its weights there."
    if not found.losses and found.weights is None:
        return f"After {steps} there is nothing to compare: train more of them with --steps."
    differ = f"the largest difference of {losses} is {found.largest:.2g}"
    weights = {True: "the weights are the same", False: "the weights differ", None: ""}
    return f"Not the same after {steps}: " + ", ".join(
        part for part in (differ, weights[found.weights]) if part
    )
