"""A file that is not what was written is found, named, and not used."""

import json
import struct
import zipfile
from pathlib import Path

import pytest

from fine_tuning.disk import hashes
from fine_tuning.errors import DataError


def flip(path: Path, at: int) -> None:
    """One bit of the file, as a failing disk leaves it."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Files as a trainer leaves them, without its libraries."""
    folder = tmp_path / "checkpoint-5"
    folder.mkdir()
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("archive/data.pkl", b"numbers" * 99)
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(16)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "trainer_state.json").write_text("{}", encoding="utf-8")
    return folder


NAMES = ["optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors"]


@pytest.mark.parametrize("name", [*NAMES, "trainer_state.json"])
def test_a_flipped_bit_is_named(checkpoint: Path, name: str) -> None:
    hashes.write(checkpoint)
    assert hashes.damage(checkpoint) == ""
    flip(checkpoint / name, 1)
    assert hashes.damage(checkpoint) == f"{name} has changed since it was written"


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_file_is_found_without_hashes(checkpoint: Path, name: str) -> None:
    """The process was killed before it wrote them, or another program saved the checkpoint."""
    assert hashes.damage(checkpoint) == ""
    truncate(checkpoint / name)
    assert hashes.damage(checkpoint) == f"{name} is damaged"


@pytest.mark.parametrize("name", NAMES[:3])
def test_a_flipped_bit_in_an_archive_of_torch_is_found_without_hashes(
    checkpoint: Path, name: str
) -> None:
    flip(checkpoint / name, 60)
    assert hashes.damage(checkpoint) == f"{name} is damaged"


def test_a_file_that_has_gone_and_damaged_hashes_are_named(checkpoint: Path) -> None:
    hashes.write(checkpoint)
    (checkpoint / "scheduler.pt").unlink()
    assert "scheduler.pt cannot be read" in hashes.damage(checkpoint)
    truncate(checkpoint / "hashes.json")
    (checkpoint / "hashes.json").write_text('{"files": []}', encoding="utf-8")
    assert hashes.damage(checkpoint) == "hashes.json cannot be read"


def test_files_that_are_not_the_models_may_change(checkpoint: Path) -> None:
    hashes.write(checkpoint, hashes.OF_A_MODEL)
    truncate(checkpoint / "optimizer.pt")
    hashes.require_unchanged(checkpoint, "")
    truncate(checkpoint / "adapter_model.safetensors")
    with pytest.raises(DataError, match=r"adapter_model\.safetensors has changed") as caught:
        hashes.require_unchanged(checkpoint, "train again")
    assert caught.value.fix == "train again"


def test_hashes_of_a_record_find_a_changed_shard(checkpoint: Path) -> None:
    known = hashes.of_files(checkpoint)
    hashes.require_unchanged(checkpoint, "", hashes=known)
    flip(checkpoint / "adapter_model.safetensors", -1)
    with pytest.raises(DataError, match=r"adapter_model\.safetensors has changed"):
        hashes.require_unchanged(checkpoint, "", hashes=known)


def test_a_folder_without_hashes_is_taken_as_it_is(checkpoint: Path) -> None:
    hashes.require_unchanged(checkpoint, "")


def test_rows_are_hashed_by_the_faster_algorithm(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}\n", encoding="utf-8")
    hashes.write(tmp_path, ("*.jsonl",), "xxh3_128")
    assert hashes.changed(tmp_path) == []
    (tmp_path / "train.jsonl").write_text("{", encoding="utf-8")
    assert hashes.changed(tmp_path) == ["train.jsonl has changed since it was written"]
