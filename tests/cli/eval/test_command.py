"""What `eval` is asked must be clear before a model is loaded."""

from pathlib import Path

import pytest

from fine_tuning.cli.eval.command import OURS, Asked, judge_of, refuse_place, require_clear, run
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import Resolved, resolve
from fine_tuning.errors import UsageError


def asked(*words: object) -> Resolved:
    return resolve(COMMANDS["eval"], [str(word) for word in words])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Which model?"),
        (("--model_name_or_path", "m"), "--dataset_path is needed: the rows to score"),
        (("--output_dir", "r", "--text_column", "t"), "--text_column goes with --dataset_path"),
        (("--output_dir", "r", "--template", "qwen"), "--template goes with --model_name_or_path"),
        (("--output_dir", "r", "--score_samples", "0"), "--score_samples must be 1 or more"),
        (("--output_dir", "r", "--junit", "o.xml"), "--junit writes the lines of a gate"),
        (("--output_dir", "r", "--max_new_tokens", "0"), "--max_new_tokens must be 1 or more"),
        (
            ("--model_name_or_path", "m", "--dataset_path", "f", "--lora_dropout", "0.1"),
            "--lora_dropout changes nothing in an evaluation",
        ),
    ],
)
def test_what_is_unclear_is_named(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        require_clear(asked(*words))
    assert any(says in mistake for mistake in caught.value.mistakes), caught.value.mistakes


def test_a_run_on_another_file_is_clear() -> None:
    require_clear(asked("--output_dir", "r", "--dataset_path", "f", "--text_column", "t"))
    require_clear(asked("--adapter_name_or_path", "a", "--dataset_path", "f"))


def test_a_folder_without_a_run_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        run(asked("--output_dir", tmp_path))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--judge", "localhost:8000"), "is no address"),
        (("--rubric", "Be kind."), "go with --judge"),
        (("--judge", "http://127.0.0.1:1"), "no base model"),
    ],
)
def test_a_judge_that_cannot_be_asked_is_refused(words: tuple[str, ...], says: str) -> None:
    base = None if says == "no base model" else "b"
    with pytest.raises(UsageError, match=says):
        judge_of(asked(*words), Asked(run=None, tuned="t", base=base))


def test_a_report_replaces_only_a_report(tmp_path: Path) -> None:
    data, other = tmp_path / "rows.json", tmp_path / "other.json"
    data.write_text("[]")
    other.write_text('{"mine": 1}')
    (tmp_path / "old.json").write_text('{"version":1,"base":null}')
    for free in ("new.json", "old.json"):
        refuse_place("report", tmp_path / free, OURS, (str(data),))
    taken = {
        data: "the dataset itself",
        other: "none of ours",
        tmp_path: "no file",
        tmp_path / "no" / "r.json": "there is no directory",
    }
    for place, why in taken.items():
        with pytest.raises(UsageError, match=f"--report .*{why}"):
            refuse_place("report", place, OURS, (str(data),))
