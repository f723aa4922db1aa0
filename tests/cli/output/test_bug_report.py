"""The log of a bug can be pasted into an issue, and tells strangers nothing about its author."""

import getpass
import re
from pathlib import Path

import pytest

from fine_tuning import __version__
from fine_tuning.cli.output.bug_report import redacted, secrets_of, write_bug_report


def reported(text: str, *words: str) -> str:
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        path = write_bug_report(error, words)
    report = path.read_text(encoding="utf-8")
    path.unlink()
    return report


def test_it_is_markdown_with_versions_flags_and_traceback() -> None:
    report = reported("unexpected", "validate", "--dataset_path", "my.json", "--epochs=3")
    assert f"llama-factory-fine-tuning {__version__}" in report
    assert re.search(r"llamafactory \d.*torch \d.*transformers \d", report)
    assert "Command: `validate`, flags: `--dataset_path` `--epochs`" in report
    [trace] = re.findall(r"^```text\n(.*?)^```$", report, re.MULTILINE | re.DOTALL)
    assert trace.startswith("Traceback (most recent call last):")
    assert trace.endswith("RuntimeError: unexpected\n")


def test_a_fence_in_the_text_does_not_end_the_block() -> None:
    assert "\n````text\n" in reported("a ```row``` of Markdown")


def test_values_credentials_home_and_user_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-token-of-mine")
    monkeypatch.setenv("USER", "erika")
    monkeypatch.setenv("LOGNAME", "erika")
    monkeypatch.setenv("HOME", "/home/erika")
    said = (
        "no file /home/erika/private.json or /data/erika/x of erika (customers.jsonl, lora, 0.5); "
        "a-token-of-mine hf_abcdefgh12345678 https://me:pw@hub.local/x?token=abc Bearer xyz"
    )
    words = ("--dataset_path", "customers.jsonl", "--method=lora", "--val_size", "0.5")
    last = reported(said, *words).splitlines()[-2]
    assert last == (
        "RuntimeError: no file ~/private.json or /data/<user>/x of <user> (<value>, lora, 0.5); "
        "<value> <credential> https://<credential>@hub.local/x?token=<credential> "
        "Bearer <credential>"
    )


def test_the_frames_of_this_checkout_can_still_be_read() -> None:
    report = reported("x", "--output_dir", "runs/of-mine")
    assert f", line {reported.__code__.co_firstlineno + 2}, in reported" in report
    assert str(Path.home()) not in report
    assert getpass.getuser() not in re.sub(r"<user>|~", "", report).split("/")


def test_a_command_that_is_no_flag_is_no_secret() -> None:
    assert secrets_of(("validate", "--dataset_path", "rows.json"), {}) == ("rows.json",)
    assert redacted("validate rows.json", ("rows.json",)) == "validate <value>"
