"""Each loss of the ledger is tied to the file and line that its row came from."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fine_tuning import ledger
from fine_tuning.dataset.insight.rows import ORIGIN
from fine_tuning.stages.asking.ledger import ledger_line, no_ledger, write_ledger
from fine_tuning.stages.planned import Planned
from fine_tuning.values.data import FileAccount, SplitData
from fine_tuning.values.spec import RunSpec
from tests.engine.plan.plans import LOOK_7B, PLACES, plan
from tests.looks import DATA
from tests.trainings import rows_of

FILES = tuple(
    FileAccount(
        path=path,
        format="alpaca",
        kind="chat",
        encoding="utf-8",
        sha256="",
        rows_read=4,
        rows_kept=4,
        rows_dropped=0,
    )
    for path in ("/d/a.jsonl", "/d/b.jsonl")
)


def part(folder: Path, name: str, kept: list[int]) -> Path:
    """The rows of a part, and their numbers among the checked ones."""
    rows = rows_of("chat", 8)
    path = folder / f"{name}.jsonl"
    lines = (json.dumps(rows[number]) + "\n" for number in kept)
    path.write_text("".join(lines), encoding="utf-8")
    np.array(kept, "<u4").tofile(path.with_suffix(".numbers"))
    return path


def origins(path: Path, places: list[tuple[int, int]]) -> Path:
    np.array(places, ORIGIN).tofile(path)
    return path


def losses(path: Path, **parts: Any) -> Path:
    path.write_text(json.dumps(parts))
    return path


def test_places_tokens_and_losses_of_both_parts(tmp_path: Path) -> None:
    places = [(0, 2), (0, 5), (0, 9), (1, 1), (1, 4)]
    data = replace(DATA, files=FILES, origins_path=origins(tmp_path / "rows.origins", places))
    parts = SplitData(
        train_path=part(tmp_path, "train", [0, 2, 4]),
        val_path=part(tmp_path, "validation", [3]),
        train_rows=3,
        val_rows=1,
    )
    kept = losses(
        tmp_path / "row_losses.json",
        before={"train": [[8.0, 4], [None, 4], [0.0, 0]], "validation": [[6.0, 2]]},
        after={"train": [[4.0, 4], [2.0, 4], [0.0, 0]], "validation": [[9.0, 2]]},
    )
    losses(tmp_path / "spikes.json", spikes=[{"step": 57, "sequences": [3, 4]}])
    write_ledger(tmp_path, data, parts, kept, lambda sequences: [it // 2 for it in sequences])
    rows = ledger.read(tmp_path)
    assert [it.spike for it in rows] == [None, 57, 57, None], "by the rows of its sequences"
    behind = ledger.findings(rows).behind_spikes
    assert [it.row.place for it in behind] == ["/d/a.jsonl:9", "/d/b.jsonl:4"]
    assert [(it.part, it.row, it.kept, it.place) for it in rows] == [
        ("train", 0, 0, "/d/a.jsonl:2"),
        ("train", 1, 2, "/d/a.jsonl:9"),
        ("train", 2, 4, "/d/b.jsonl:4"),
        ("validation", 0, 3, "/d/b.jsonl:1"),
    ]
    assert [(it.before, it.after) for it in rows] == [(2, 1), (None, 0.5), (None, None), (3, 4.5)]
    assert rows[1].question == "What is 74?" and rows[1].answer.startswith("It is 2,")
    assert ledger_line(tmp_path).startswith("Rows that stand out: 1 row without a finite loss, 2 ")


def test_a_training_that_was_stopped_before_its_end_has_none(tmp_path: Path) -> None:
    parts = SplitData(train_path=Path("t"), val_path=None, train_rows=1, val_rows=0)
    assert write_ledger(tmp_path, DATA, parts, tmp_path / "none.json") is None
    only = losses(tmp_path / "row_losses.json", before={"train": [[1.0, 1]]})
    (tmp_path / ledger.LEDGER).write_bytes(b"of an earlier end")
    assert write_ledger(tmp_path, DATA, parts, only) is None
    assert ledger_line(tmp_path) == ""


@pytest.mark.parametrize(
    ("wishes", "rows", "stage", "why"),
    [
        ({}, 5000, "sft", ""),
        ({}, 5001, "sft", "5,001 rows are more than 5,000"),
        ({"ledger": "on"}, 5001, "pt", ""),
        ({"ledger": "off"}, 1, "sft", "--ledger off"),
        ({"ledger": "on"}, 1, "dpo", "where preferences or rewards are trained"),
        ({"ledger": "on"}, 1, "grpo", "where preferences or rewards are trained"),
        ({"engine_args": {"max_samples": 3}}, 9, "sft", "--max_samples leaves rows out"),
    ],
)
def test_when_losses_are_kept(wishes: dict[str, Any], rows: int, stage: str, why: str) -> None:
    made = plan().plan
    planned = Planned(
        spec=RunSpec(**wishes),
        data=DATA,
        look=LOOK_7B,
        parts=SplitData(train_path=Path("t"), val_path=None, train_rows=rows, val_rows=0),
        plan=replace(made, rows=replace(made.rows, stage=stage)),
        places=PLACES,
    )
    found = no_ledger(planned)
    assert found.startswith(why) and bool(found) == bool(why)
    spread = replace(planned.plan, chosen=replace(made.chosen, world=2))
    assert no_ledger(replace(planned, spec=RunSpec(ledger="on"), plan=spread))
