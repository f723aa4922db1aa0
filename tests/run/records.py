"""Records of runs, as they lie in `run.json`."""

from pathlib import Path

from fine_tuning.values.codec import json_text
from fine_tuning.values.record import Done, RunRecord, Stages
from fine_tuning.values.results import Trained
from fine_tuning.values.spec import DataSpec, RunSpec

FINISHED = RunRecord(
    created=1.0,
    command="run",
    status="done",
    settings=RunSpec(
        model_name_or_path="/models/base", data=DataSpec(dataset_path=("/data/rows.jsonl",))
    ),
    stages=Stages(
        train=Done(
            inputs="i",
            began=1.0,
            seconds=6.0,
            result=Trained(
                epochs=3.0,
                before={"loss": 3.0, "exact_match": 0.0, "n": 4.0, "tokens": 40.0},
                after={"loss": 1.0, "exact_match": 0.75, "n": 4.0, "tokens": 40.0},
            ),
        ),
    ),
)


def written(record: RunRecord, folder: Path) -> Path:
    """The folder of a run with this record."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json_text(record, root=folder), encoding="utf-8")
    return folder
