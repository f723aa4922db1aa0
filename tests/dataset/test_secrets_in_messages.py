"""A message that quotes a file quotes no part of a secret."""

import json
from pathlib import Path

import pytest

from fine_tuning.dataset import check
from fine_tuning.errors import DataError
from fine_tuning.values.spec import DataSpec

TOKEN = "ghp_" + "aB3dEfGh1jKlMnOpQrStUvWxYz0123456789"[:36]


@pytest.mark.parametrize(
    "text",
    [
        f"{TOKEN} is my key",
        f'{{"instruction": "q", "output": {TOKEN}}}',
        f'{{"instruction": "q" "{TOKEN}": 1}}',
    ],
)
def test_no_part_of_a_token_is_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    spec = DataSpec(dataset_path=(str(path),))
    try:
        data = check.account(spec, out_dir=tmp_path / "out")
    except DataError as error:
        said = str(error)
    else:
        said = data.report_path.read_text("utf-8")
        problems = json.loads(said)["problems"]
        assert any(problem["severity"] == "error" for problem in problems)
    assert TOKEN[:8] not in said
