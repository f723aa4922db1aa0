"""Sizes of one model: which is recommended, and what the table says of the others."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fine_tuning.errors import EnvironmentProblem, UsageError
from fine_tuning.report.told.ladder import sizes
from fine_tuning.ship.llama_cpp.measure import Measured, Row
from fine_tuning.stages.shipping import shippers
from fine_tuning.stages.shipping.llama_cpp import ladder
from fine_tuning.values.answers.ladder import Ladder
from fine_tuning.values.record import Stages
from fine_tuning.values.results import GgufFile
from fine_tuning.values.spec import RunSpec
from tests.commands import ROOT

ROWS = 40
DEMO = ROOT / "demo_model"


def measured(*, worse: float = 0.0, wrong: int = 0, noise: float = 0.0, stored: str) -> Measured:
    """A file whose losses are that much worse, and that answers so many rows wrongly."""
    draw = np.random.default_rng(0)
    rows = [
        Row(
            loss=5.0 + number % 7 + worse * 4 + noise * float(draw.normal()),
            tokens=4,
            divergence=worse,
            same=4,
            expected="yes",
            answer="no" if number < wrong else "yes",
            stopped=True,
        )
        for number in range(ROWS)
    ]
    return Measured(
        stored={stored: 0.9, "f32": 0.1},
        rows=rows,
        prompt_speeds=[10.0, 99.0, 12.0],
        answer_speeds=[1.0, 2.0, 3.0],
    )


def climbed(**files: tuple[int, Measured]) -> Ladder:
    """The ladder of these files (type: bytes, what was measured), the first not quantised."""
    first = next(iter(files.values()))[1]
    rungs = tuple(
        ladder.rung_of(
            GgufFile(path=Path(f"/m/{kind}.gguf"), type=kind, bytes=size, hash=""), found, first
        )
        for kind, (size, found) in files.items()
    )
    return Ladder(
        rungs=rungs,
        recommended=ladder.recommended(rungs),
        rows=ROWS,
        tokens=4 * ROWS,
        threads=1,
        rounds=3,
    )


def test_the_smallest_that_is_not_measurably_worse_is_recommended() -> None:
    found = climbed(
        f16=(100, measured(stored="f16")),
        q8_0=(50, measured(stored="q8_0", noise=0.01)),
        q6_k=(40, measured(stored="q6_K", worse=0.0001, noise=0.5)),
        q4_k_m=(30, measured(stored="q4_K", worse=0.1, noise=0.1)),
        q3_k_m=(20, measured(stored="q3_K", wrong=20)),
    )
    worse = {rung.type: rung.worse for rung in found.rungs}
    assert worse == {
        "f16": (),
        "q8_0": (),
        "q6_k": (),
        "q4_k_m": ("loss",),
        "q3_k_m": ("exact_match",),
    }
    assert found.recommended == "q6_k"
    assert [rung.prompt_speed for rung in found.rungs] == [12.0] * 5, "the middle one counts"
    lines = [*ladder.table_lines(found), *ladder.advice(found)]
    assert lines[0].split()[0] == "type" and lines[3].startswith("q6_k")
    assert "*" in lines[4] and "*" in lines[5] and "*" not in lines[3]
    assert any(line.startswith("Recommended: q6_k (/m/q6_k.gguf)") for line in lines)
    assert lines[-1] == "    rm /m/f16.gguf /m/q8_0.gguf /m/q4_k_m.gguf /m/q3_k_m.gguf"
    assert sizes(found).rows[4][0] == "q3_k_m"


def test_of_files_that_are_alike_the_one_with_more_bits_is_recommended() -> None:
    """The rows of a tiny model are too narrow for K-quants: q6_k is the same file as q8_0."""
    found = climbed(
        f16=(100, measured(stored="f16")),
        q8_0=(50, measured(stored="q8_0")),
        q6_k=(50, measured(stored="q8_0")),
    )
    assert found.recommended == "q8_0"
    [note] = sizes(found).notes
    assert "Nothing in q6_k.gguf is q6_K" in note and "so llama.cpp took q8_0" in note


def test_a_ladder_without_held_out_rows_is_refused_before_the_training() -> None:
    spec = RunSpec(gguf=("ladder", "q2_k"), val_size=0.0)
    assert spec.gguf_types == ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k")
    with pytest.raises(UsageError, match="held none out"):
        ladder.refuse_unmakeable(spec, Stages())
    ladder.refuse_unmakeable(spec.replace(val_size=0.1), Stages())
    ladder.refuse_unmakeable(spec.replace(gguf=("q8_0",)), Stages())
    with pytest.raises(UsageError, match="rows that a run held out"):
        ladder.refuse_without_run(spec)


def test_a_disk_without_room_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sizes were added up once the model was trained and merged."""
    spec = RunSpec(model_name_or_path=str(DEMO), gguf=("ladder",)).with_places(tmp_path / "run")
    shippers.refuse_base(spec, str(DEMO))
    stored = (DEMO / "model.safetensors").stat().st_size
    free = SimpleNamespace(free=int(stored * 3.8))  # they need 2.85, and 1 meanwhile
    monkeypatch.setattr("fine_tuning.ship.gguf.shutil.disk_usage", lambda place: free)
    with pytest.raises(EnvironmentProblem, match=r"f16, q8_0, .*q3_k_m need about .* free"):
        shippers.refuse_base(spec, str(DEMO))
    (tmp_path / "run-gguf").mkdir()
    (tmp_path / "run-gguf" / f"{spec.title}-f16.gguf").touch()  # what is there needs none
    shippers.refuse_base(spec, str(DEMO))


def test_one_row_tells_no_difference() -> None:
    """Two rows of a bootstrap are the least; with one nothing is measurable."""
    one = measured(stored="f16")
    one = replace(one, rows=one.rows[:1])
    other = replace(one, rows=[replace(one.rows[0], loss=99.0)])
    found = climbed(f16=(100, one), q8_0=(50, other))
    assert found.rungs[1].loss_change is None and found.recommended == "q8_0"
