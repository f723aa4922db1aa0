"""Files that rows name belong to the data: one that comes, goes or changes is seen."""

import os
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.dataset.prepare.media_files import media_state
from tests.dataset.rows_on_disk import PIXEL, account, messages


def seen(*names: str) -> dict[str, Any]:
    marks = "<image>" * len(names)
    return {**messages(("user", f"{marks}What?"), ("assistant", "Red.")), "images": [*names]}


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a.png", "b.png", "中.png")]
    for path in paths:
        path.write_bytes(PIXEL)
    return paths


def test_a_picture_that_changes_or_goes_changes_the_state(
    tmp_path: Path, pictures: list[Path]
) -> None:
    rows = [seen("a.png", "b.png"), seen("中.png"), messages(("user", "q"), ("assistant", "a"))]
    data = account(tmp_path, rows)
    states = [media_state(data), media_state(data)]
    for path in pictures:
        os.utime(path, (1, 1))
        states.append(media_state(data))
    pictures[2].unlink()
    states.append(media_state(data))
    assert states[0] == states[1]
    assert len(set(states)) == len(states) - 1


def test_rows_with_larger_pictures_are_other_rows(tmp_path: Path, pictures: list[Path]) -> None:
    rows = [seen("a.png"), seen("b.png")]
    first = account(tmp_path, rows)
    os.utime(pictures[0], (1, 1))
    touched = account(tmp_path, rows)
    pictures[1].write_bytes(PIXEL + bytes(1))
    changed = account(tmp_path, rows)
    assert first.fingerprint == touched.fingerprint != changed.fingerprint


def test_text_alone_has_no_files_and_a_lost_row_may_come_back(
    tmp_path: Path, pictures: list[Path]
) -> None:
    assert media_state(account(tmp_path, [messages(("user", "q"), ("assistant", "a"))])) == ""
    assert media_state(account(tmp_path, [seen("a.png"), seen("gone.png")])) is None
