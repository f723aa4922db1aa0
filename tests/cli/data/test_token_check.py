"""`validate` as a user calls it: flags, exit codes, and the look at the tokens."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning.cli.data.token_check import masked_rows, refuse_unusable_flags, summary
from fine_tuning.dataset.prepare.fit import Fit
from fine_tuning.errors import UsageError
from fine_tuning.values.shown import Span
from fine_tuning.values.spec import DataSpec, RunSpec
from tests.looks import look_of

ROOT = Path(__file__).parents[3]
DATA = DataSpec(dataset_path=("a.json",))


def validate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, os.fspath(ROOT / "llama_factory_fine_tuning.py"), "validate"]
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("spec", "given", "show", "message"),
    [
        (RunSpec(data=DATA), ["template"], (), "--template needs the model's tokenizer"),
        (RunSpec(data=DATA), ["show"], ("3",), "--show needs the model's tokenizer"),
        (RunSpec(data=DATA, model_name_or_path="m"), ["show"], ("12th",), "--show 12th: give"),
        (RunSpec(), [], (), "--dataset_path is needed"),
    ],
)
def test_flags_that_cannot_be_used_are_refused(
    spec: RunSpec, given: list[str], show: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        refuse_unusable_flags(spec, given, show)


def test_flags_that_can_be_used_are_not() -> None:
    spec = RunSpec(data=DATA, model_name_or_path="m")
    refuse_unusable_flags(spec, ["show", "template"], ("3", "longest", "truncated", "#12"))


def test_the_summary_names_template_lengths_and_cutoff() -> None:
    template = {"name": "llama3", "reason": "renders as the model"}
    lengths = {"min": 3, "max": 1200}
    look = look_of(template=template, percentiles=lengths, overlong={"7": [1]})
    assert summary(look) == [
        "template: llama3 (renders as the model)",
        "tokens per row: min 3, max 1,200",
        "max_seq_length: 1,024; rows that are longer: 1",
        "rows that other cutoffs would touch: 11 over 128, 2 over 1024",
    ]
    assert len(summary(replace(look, over={}))) == 3


def test_a_row_is_shown_with_what_is_trained_of_it() -> None:
    (row,) = masked_rows(look_of().views, Fit(cutoff=1024), "d:{}".format)
    assert row.title == "row #0, d:0: 4 tokens, 2 trained"
    assert row.spans == (Span("Hello", False), Span("Hi</s>", True))


def test_good_data_ends_with_0_and_a_report(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = validate("--dataset_path", os.fspath(ROOT / "data/alpaca.json"), "--report", str(report))
    assert done.returncode == 0, done.stderr
    written = json.loads(report.read_text())
    assert written["rows_read"] == written["rows_kept"] + written["rows_dropped"] > 0


def test_the_account_is_shown_also_where_the_rows_cannot_be_trained(tmp_path: Path) -> None:
    """Who gives twenty bad rows and the wrong stage hears of both."""
    path = tmp_path / "d.json"
    rows = [{"instruction": "q", "output": "a"}, {"instruction": "q2", "output": ""}]
    path.write_text(json.dumps(rows))
    done = validate("--dataset_path", str(path), "--stage", "dpo")
    assert done.returncode == 2
    assert "answer is blank" in done.stdout
    assert "--stage dpo needs" in done.stderr


def test_bad_data_ends_with_1_and_a_stage_that_does_not_fit_with_2(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"instruction": "a", "output": "b"}\n{"instruction": "a", "output": ""}\n')
    assert validate("--dataset_path", str(bad)).returncode == 1
    good = os.fspath(ROOT / "data/alpaca.json")
    done = validate("--dataset_path", good, "--stage", "dpo")
    assert done.returncode == 2
    assert "--stage dpo" in done.stderr
    assert "--stage sft" in done.stderr  # what these rows do fit


def test_no_dataset_is_wrong_use() -> None:
    assert validate().returncode == 2


@pytest.mark.engine
def test_with_a_tokenizer_rows_are_shown_as_they_are_trained(tmp_path: Path) -> None:
    from tests.models import build_model

    model = build_model(tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Say yes.", "output": "yes"}\n' * 3)
    done = validate(
        *("--dataset_path", str(rows), "--model_name_or_path", str(model), "--show", "#0")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same token ids as the model's own chat template for all 3 rows" in done.stdout
    assert "tokens per row: min " in done.stdout
    assert "trained | yes<|im_end|>" in done.stdout


def test_what_a_run_makes_of_an_overlong_row_is_shown() -> None:
    (view,) = look_of().views
    rounds = {0: (90, 200), 1: (200,), 2: (300,)}
    fit = Fit(cutoff=100, keep_rounds={0: 1}, dropped=frozenset({1, 2}), rounds=rounds)
    shown = (masked_rows([replace(view, row=row)], fit, "d:{}".format)[0] for row in (0, 1, 3))
    titles = [row.title.partition("; ")[2] for row in shown]
    assert titles == [
        "longer than the cutoff: a run keeps 1 of 2 rounds",
        "longer than the cutoff: a run drops it",
        "",
    ]
