"""evaluate: a model and its base on the same rows, by the worker."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fine_tuning.dataset.check import refuse_unusable
from fine_tuning.dataset.insight.rows import Origins, read_origins
from fine_tuning.disk import hashes
from fine_tuning.disk.files import read_json
from fine_tuning.disk.paths import shown
from fine_tuning.disk.resources import FORGETTING
from fine_tuning.engine.process.chatting import Voices
from fine_tuning.engine.process.launch import Worker
from fine_tuning.engine.requests import served_request
from fine_tuning.errors import UsageError
from fine_tuning.screen import Screen, worker_events
from fine_tuning.stages.asking import chat
from fine_tuning.stages.preparing.check import Check
from fine_tuning.stages.shipping.merge import TRAINED_AGAIN
from fine_tuning.values.answers.scores import Scored
from fine_tuning.values.codec import from_json
from fine_tuning.values.record import RunRecord
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.kinds import Kind


@dataclass(frozen=True, kw_only=True)
class RowSet:
    """Rows to score, in canonical form; `origins` say where they stood in the user's files."""

    name: str
    path: Path
    kind: Kind
    unit: str = "rows"
    samples: int | None = None  # None: all
    origins: Origins | None = None

    def place(self, number: int) -> str:
        """File and line of a row."""
        return self.origins.place(number) if self.origins else f"{shown(self.path)}:{number + 1}"


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """What was scored of a set: `rows` are the numbers of its rows, in the order of the scores."""

    rows: tuple[int, ...]
    left_out: Mapping[int, str] = field(default_factory=dict)
    before: Scored = Scored()
    after: Scored = Scored()


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score all sets with the tuned model, and with its base if there is one.

    `most_new`: tokens of an answer (None: by the expected ones). `folder` is for files on the way.
    `said` is what base and tuned model are called meanwhile (cli/screens/progress.py: score_...).
    """

    voices: Voices
    sets: tuple[RowSet, ...]
    most_new: int | None
    folder: Path
    worker: Worker
    said: tuple[str, str] = ("before", "after")

    def do(self, screen: Screen) -> dict[str, SetScores]:
        """The scores of each set, by its name."""
        out = self.folder / "evaluated.json"
        request = {
            "models": [*self._models()],
            "sets": [
                {
                    "name": it.name,
                    "rows_path": str(it.path),
                    "samples": it.samples,
                    "kind": "text" if it.kind == "text" else "answers",
                    "unit": it.unit,
                    "most_new": self.most_new,
                }
                for it in self.sets
            ],
            "out": str(out),
        }
        screen.begin("engine")
        self.worker.request("evaluate", request, worker_events(screen))
        screen.end("")
        found = read_json(out, "repeat the command")
        return {name: from_json(it, SetScores, named=str(out)) for name, it in found.items()}

    def _models(self) -> Iterator[dict[str, Any]]:
        tuned, base = self.voices.tuned, self.voices.base
        if base is None:
            yield {"name": "after", "said": "alone", "model": asdict(tuned)}
            return
        for name, said, model in zip(("before", "after"), self.said, (base, tuned), strict=True):
            yield {"name": name, "said": said, "model": asdict(model)}


def of_run(record: RunRecord, run_dir: Path, screen: Screen) -> Voices:
    """The model that a finished run left, asked as its held-out rows were; and its base.

    Raises DataError if what was trained is not what lies there, UsageError for a reward model.
    """
    hashes.require_unchanged(run_dir, TRAINED_AGAIN)
    voices = chat.of_run(record, run_dir, screen)
    assert record.stages.tokens and voices.base
    served = served_request(record.stages.tokens.result.template)
    return voices.served_by(served)


def held_out(record: RunRecord, run_dir: Path, samples: int | None) -> RowSet:
    """The rows that a run did not train on. Raises UsageError if there are none, DataError if they
    are not what was written."""
    assert record.stages.split and record.stages.check
    parts = record.stages.split.result
    if parts.val_path is None or not parts.val_rows:
        raise UsageError(
            f"The run in {shown(run_dir)} held no rows out.",
            fix="give rows that it was not trained on with --dataset_path",
        )
    hashes.require_unchanged(parts.val_path.parent, "put the rows back that the run had prepared")
    kind = record.stages.check.result.kind
    return RowSet(name="rows", path=parts.val_path, kind=kind, samples=samples)


def of_file(spec: RunSpec, folder: Path, samples: int | None, screen: Screen) -> RowSet:
    """The usable rows of the user's files. Raises DataError if too few are."""
    # what a file is called decides what is trained on, and here nothing is
    spec = spec.replace(data=replace(spec.data, ignore_splits=True))
    stage = Check(spec=spec, dataset=folder / "dataset")
    data = stage.do(screen)
    stage.tell(data, screen, known=False)
    refuse_unusable(data, spec.data)
    return RowSet(
        name="rows",
        path=data.rows_path,
        kind=data.kind,
        samples=samples,
        origins=read_origins(data.origins_path, [file.path for file in data.files]),
    )


def forgetting() -> RowSet:
    """The general rows that come along."""
    return RowSet(name="forgetting", path=FORGETTING, kind="chat", unit="general rows")
