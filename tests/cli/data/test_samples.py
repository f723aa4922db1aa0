"""The bundled samples appear in LLaMA Board's list, and nothing else of the folder is touched."""

import json
from pathlib import Path

from fine_tuning import demo
from fine_tuning.cli.data.samples import register_samples

NAMES = {f"sample_{form}" for form in demo.SAMPLES if form != "auto"}


def registered(folder: Path) -> dict[str, dict[str, object]]:
    entries: dict[str, dict[str, object]] = json.loads((folder / "dataset_info.json").read_text())
    return entries


def test_every_sample_is_registered_once_with_its_rows(tmp_path: Path) -> None:
    assert set(register_samples(tmp_path)) == NAMES
    entries = registered(tmp_path)
    assert set(entries) == NAMES
    for name, entry in entries.items():
        rows = Path(str(entry["file_name"])).read_text(encoding="utf-8").splitlines()
        assert len(rows) > 10, name
        assert all(json.loads(row)["conversations"] for row in rows)
    assert entries["sample_preference"]["ranking"] is True
    assert register_samples(tmp_path) == ()


def test_entries_of_others_stay(tmp_path: Path) -> None:
    mine = {"mine": {"file_name": "mine.json"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(mine))
    register_samples(tmp_path)
    assert registered(tmp_path)["mine"] == mine["mine"]


def test_a_sample_whose_rows_were_deleted_is_prepared_again(tmp_path: Path) -> None:
    register_samples(tmp_path)
    (tmp_path / "prepared" / "sample_text" / "rows.jsonl").unlink()
    assert register_samples(tmp_path) == ("sample_text",)
