"""A dataset format is a file in `dataset_info/`, and nothing else."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fine_tuning.dataset.convert.rows import CONVERTERS
from fine_tuning.dataset.recognise.formats import all_formats
from fine_tuning.disk.resources import FORMATS
from fine_tuning.values.spec import DATASET_FORMATS
from tests.commands import ROOT, environment
from tests.dataset.rows_on_disk import write_jsonl

MINE = {
    "formatting": "alpaca",
    "columns": {"prompt": "ask", "response": "reply"},
    "recognise": {
        "kind": "chat",
        "converter": "prompt_completion",
        "shapes": [{"columns": ["ask", "reply"], "score": 20}],
        "aliases": {"prompt": ["ask"], "completion": ["reply"]},
    },
}


def test_each_file_is_a_format_and_a_choice() -> None:
    names = {path.stem for path in FORMATS.glob("*.json")}
    assert set(all_formats()) == names
    assert set(DATASET_FORMATS) == {"auto", *names}
    assert {known.converter for known in all_formats().values()} == set(CONVERTERS)


@pytest.mark.engine
def test_a_new_file_in_the_folder_is_a_format_that_trains(tmp_path: Path, tiny_model: Path) -> None:
    copy = tmp_path / "copy"
    for name in ("fine_tuning", "dataset_info", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "llama_factory_fine_tuning.py", copy / "program.py")
    (copy / "dataset_info" / "mine.json").write_text(json.dumps(MINE))
    rows = [{"ask": f"What is {n} and {n}?", "reply": f"It is {2 * n}."} for n in range(8)]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    words = ["--dataset_path", data, "--model_name_or_path", tiny_model, "--output_dir", "run"]
    words += ["--max_steps", 1, "--score_samples", 0, "--val_size", 0, "--use_cpu", "true"]
    run = subprocess.run(
        [sys.executable, str(copy / "program.py"), "run", *map(str, words)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout
    assert "8 of 8 rows are usable (mine)" in run.stdout
    assert (tmp_path / "run" / "adapter_model.safetensors").is_file()
