"""What the worker is asked, and what it is not asked because the answer would be wrong."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fine_tuning.dataset.types import SplitData
from fine_tuning.errors import DataError
from fine_tuning.job.asking import refuse_unmeasured, scoring, token_request
from fine_tuning.spec import RunSpec
from tests.dataset.canonical_files import chat, checked_data


def test_a_cutoff_is_not_chosen_by_lengths_without_the_images(tmp_path: Path) -> None:
    data = checked_data(tmp_path, [chat("<image>What?", "A cat")])
    refuse_unmeasured(RunSpec(), data)
    data = replace(data, columns=frozenset({"conversations", "images"}))
    with pytest.raises(DataError, match="hold images: --max_seq_length") as caught:
        refuse_unmeasured(RunSpec(), data)
    assert "give --max_seq_length" in caught.value.fix
    spec = RunSpec(max_seq_length=2048)
    refuse_unmeasured(spec, data)
    assert token_request(spec, "m", data, tmp_path, show=())["media"] == ["images"]


@pytest.mark.parametrize("media", [[], ["images"]])
def test_rows_with_images_are_not_scored_without_them_and_that_is_said(media: list[str]) -> None:
    said: list[str] = []
    tokens = {"result": {"media": media}}
    job: Any = SimpleNamespace(
        spec=RunSpec(),
        screen=SimpleNamespace(warn=said.append),
        folder=SimpleNamespace(stage=lambda name: tokens),
    )
    plan: Any = SimpleNamespace(settings={"stage": "sft"})
    parts = SplitData(train_path=Path("t"), val_path=Path("v"), train_rows=3, val_rows=1)
    assert (scoring(job, parts, plan) is None) == bool(media)
    assert len(said) == len(media)
