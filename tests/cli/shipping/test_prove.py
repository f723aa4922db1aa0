"""`prove` says what it compares with what, or why that is not clear."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.cli.shipping import prove
from fine_tuning.errors import DataError, UsageError
from fine_tuning.ship.proving.causes import CAUSES, judge
from fine_tuning.ship.proving.contract_file import read_contract
from fine_tuning.ship.proving.tolerance import format_of
from fine_tuning.values.answers.contract import (
    Contract,
    Conversation,
    Heard,
    Noise,
    Position,
    Replay,
)
from fine_tuning.values.answers.verdict import Same
from fine_tuning.values.codec import json_text
from tests.commands import ROOT


def resolved(*words: object) -> Any:
    return resolve(COMMANDS["prove"], [*map(str, words)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Which contract"),
        (("--contract", "c.json"), "What is compared with it"),
        (("--output_dir", "r", "--gguf", "f", "--url", "http://h"), "One target at a time"),
        (("--output_dir", "r", "--gguf_adapter", "f"), "goes with --gguf"),
        (("--record", "c.json"), "--record writes a contract of --model_name_or_path"),
        (("--record", "c.json", "--output_dir", "r"), "a run has one already"),
        (("--output_dir", "r", "--url", "http://h", "--dtype", "tiny"), "is no number format"),
        (("--record", "c", "--adapter_name_or_path", "a", "b"), "add --combine, or record each"),
        (("--contract", "c", "--adapter_name_or_path", "a", "b"), "each by its own contract"),
        (("--output_dir", "r", "--max_grad_norm", "1"), "--max_grad_norm changes nothing here"),
    ],
)
def test_it_must_be_clear_what_is_compared(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prove.require_target(resolved(*words))


@pytest.mark.parametrize(
    "words",
    [
        ("--output_dir", "r"),
        ("--output_dir", "r", "--model_name_or_path", "b", "--adapter_name_or_path", "a"),
        ("--contract", "c", "--gguf", "f", "--gguf_adapter", "a"),
        ("--record", "c", "--model_name_or_path", "m"),
    ],
)
def test_what_is_clear_is_taken(words: tuple[str, ...]) -> None:
    prove.require_target(resolved(*words))


def test_a_run_of_an_older_version_says_how_it_gets_a_contract(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match=r"has no contract\.json") as caught:
        prove.contract_paths(resolved("--output_dir", tmp_path))
    assert "without training again" in caught.value.fix


def test_several_adapters_have_a_contract_each(tmp_path: Path) -> None:
    job = resolved("--adapter_name_or_path", tmp_path / "a", tmp_path / "b")
    prove.require_target(job)
    with pytest.raises(UsageError, match=r"b has no contract\.json") as caught:
        prove.contract_paths(job)
    assert "a has no" in str(caught.value)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "contract.json").touch()
    assert prove.contract_paths(job) == [tmp_path / name / "contract.json" for name in "ab"]


def test_a_file_that_is_no_contract_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no contract"):
        read_contract(tmp_path / "none.json")
    (tmp_path / "other.json").write_text('{"schema": 1}', encoding="utf-8")
    with pytest.raises(DataError, match=r"other\.json cannot be read"):
        read_contract(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("all F32", "float32"),
        ("mostly Q8_0", "8 bits"),
        ("Q4_K - Medium", "4 bits"),
        ("IQ4_XS", "4 bits"),
        ("Q4_K_M", "4 bits"),
        ("BF16", "bfloat16"),
        ("bfloat16", "bfloat16"),
        ("fp8", "fp8"),
        ("guess", ""),
    ],
)
def test_formats_are_known_by_their_names_elsewhere(said: str, meant: str) -> None:
    assert format_of(said) == meant


ASKED = Conversation(
    name="one",
    messages=({"role": "user", "content": "Hi"},),
    prompt="<bos>Hi",
    prompt_ids=(1, 5),
    answer="yes",
    answer_ids=(7, 2),
    ended="stop",
    positions=(
        Position(top=((7, "yes", -0.1), (8, "no", -3.0))),
        Position(top=((2, "<end>", -0.1), (9, "!", -4.0))),
    ),
)
CONTRACT = Contract(
    model="m", dtype="float32", stop_ids=(2,), stops=("<end>",), conversations=(ASKED,)
)
HEARD = Heard(name="one", prompt_ids=(1, 5), prompt_tokens=2, answer="yes", ended="stop")


def test_a_contract_of_before_fp8_was_measured_judges_it_as_it_was_judged_then(
    tmp_path: Path,
) -> None:
    noise = {"6 bits": Noise(mean=0.2, largest=1.0)}
    file = tmp_path / "contract.json"
    file.write_text(json_text(replace(CONTRACT, noise=noise), root=tmp_path), encoding="utf-8")
    assert read_contract(file).noise["fp8"] == noise["6 bits"]


def test_a_second_token_that_begins_the_text_is_told_from_another_template() -> None:
    def causes(**changes: Any) -> list[str]:
        heard = (replace(HEARD, **changes),)
        replay = Replay(target="t", kind="k", dtype="float32", heard=heard)
        return [finding.cause for finding in judge(CONTRACT, replay).findings]

    assert causes() == []
    assert causes(prompt_ids=(1, 1, 5)) == ["bos"]
    assert causes(prompt_tokens=3) == ["bos"]
    assert causes(prompt_ids=None, prompt_tokens=3) == ["bos"]
    assert causes(prompt_ids=(1, 6), prompt="<bos>Ho") == ["template"]
    assert causes(prompt_ids=(1, 6), prompt="<bos>Hi") == ["tokenizer"]
    assert causes(answer="yes, and on it goes", ended="length") == ["stop token"]
    assert causes(answer="no") == ["base or weights"]


def test_an_answer_may_have_a_token_that_is_not_the_likeliest_by_a_hair() -> None:
    """On a GPU the token was 0.1 less likely than another one, where the whole answer was read
    again: the model on the CPU said the other one, and was told to be rounded to 8 bits."""
    first = Position(top=((8, "no", -0.6), (7, "yes", -0.7), (9, "oh", -9.0)))
    asked = replace(ASKED, positions=(first, ASKED.positions[1]))
    contract = replace(CONTRACT, conversations=(asked,))

    def answer(said: int, text: str) -> Same:
        heard = replace(HEARD, answer=text, answer_ids=(said, 2))
        replay = Replay(target="t", kind="k", dtype="float32", heard=(heard,))
        return judge(contract, replay).conversations[0].answer

    assert answer(7, "yes") == "equal"
    assert answer(8, "no") == "close"
    assert answer(9, "oh") == "differs"


def test_each_cause_is_explained_in_the_documents() -> None:
    text = (ROOT / "docs" / "prove.md").read_text(encoding="utf-8")
    assert all(f"| `{cause}` |" in text for cause in CAUSES)


def test_a_report_holds_the_whole_verdict(tmp_path: Path) -> None:
    verdict = judge(CONTRACT, Replay(target="t", kind="k", heard=(HEARD,)))
    prove.write_report(tmp_path / "proof.json", [verdict])
    written = json.loads((tmp_path / "proof.json").read_text(encoding="utf-8"))
    assert written["holds"] is True and written["conversations"][0]["answer"] == "equal"
    assert any("no log-probabilities" in note for note in written["notes"])
