"""A gate holds or does not, and a mistyped one is refused before anything is loaded."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from fine_tuning.cli.eval.command import Asked, refuse_unmeasured
from fine_tuning.cli.eval.gate import read_gate
from fine_tuning.cli.eval.junit import write_junit
from fine_tuning.errors import UsageError
from fine_tuning.values.answers.evaluation import Held
from fine_tuning.values.answers.scores import Scored
from tests.measures.scored import scored

WRONG = [("no", '{"a": 1}')] * 30
RIGHT = [('{"a": 1}', '{"a": 1}')] * 27 + [("[", "x")] * 3
BEFORE, AFTER = scored(WRONG, loss=2.0), scored(RIGHT, loss=1.5, stops=[True] * 29 + [False])
KEY = "ghp_" + "A1b2" * 9


def held(
    tmp_path: Path, line: str, before: Scored = BEFORE, after: Scored = AFTER
) -> dict[str, bool]:
    gate = tmp_path / "gate.yaml"
    gate.write_text(line, encoding="utf-8")
    return {it.name: it.held((before, after)).holds for it in read_gate(gate)}


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ("exact_match: {at_least: 0.9}", True),
        ("exact_match: {at_least: 0.91}", False),
        ("exact_match: {better_by: 0.85}", True),
        ("exact_match: {better_by: 0.85, confidence: 0.95}", False),
        ("exact_match: {better_by: 0.6, confidence: 0.95}", True),
        ("loss: {at_most: 1.5}", True),
        ("loss: {better_by: 0.4}", True),
        ("loss: {better_by: 0.6}", False),
        ("loss: {worse_by: 0.02, confidence: 0.95}", True),
        ("stops: {at_least: 1.0}", False),
        ("valid_json: {at_least: 0.9}", True),
        ("valid_json: {at_least: 0.95}", False),
        (r"matches: {pattern: '\{.*\}', at_least: 0.9}", True),
        (r"matches: {pattern: '\[.*\]', at_least: 0.9}", False),
        ("secrets: {at_most: 0}", True),
        ("forgetting: {at_most: 0.02}", True),
        ("forgetting.exact_match: {worse_by: 0.05}", True),
        ("forgetting.rouge_1: {at_least: 0.95}", False),
    ],
)
def test_a_line_holds_or_does_not(tmp_path: Path, line: str, holds: bool) -> None:
    assert [*held(tmp_path, line).values()] == [holds]


def test_what_became_worse_is_stopped(tmp_path: Path) -> None:
    turned = held(tmp_path, "forgetting: {at_most: 0.02}", AFTER, BEFORE)
    assert turned == {"forgetting: at_most 0.02": False}
    both = held(tmp_path, "exact_match: {at_least: 0.5, worse_by: 0.1}", AFTER, BEFORE)
    assert both == {"exact_match: at_least 0.5": False, "exact_match: worse_by 0.1": False}


def test_a_secret_in_an_answer_is_found(tmp_path: Path) -> None:
    told = scored([(f"Take {KEY}.", "x"), ("Write to ann.lee@gmail.com", "x")])
    assert held(tmp_path, "secrets: {at_most: 0}", told, told) == {"secrets: at_most 0": False}
    assert not any(held(tmp_path, "personal_data: {at_most: 0.4}", told, told).values())


def test_what_was_not_measured_does_not_hold(tmp_path: Path) -> None:
    text = Scored(metrics={"n": 2, "loss": 1.0}, losses=((3.0, 3), (2.0, 2)))
    lines = "exact_match: {at_least: 0}\nsecrets: {at_most: 1}\nloss: {at_most: 1}"
    assert [*held(tmp_path, lines, text, text).values()] == [False, False, True]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("exact_mach: {at_least: 1}", "exact_mach is no metric. Did you mean exact_match?"),
        ("loss: {at_moost: 1}", "at_moost is no bound. Did you mean at_most?"),
        ("loss: {at_most: low}", "at_most must be a number, not 'low'"),
        ("loss: {at_most: .nan}", "at_most must be a number"),
        ("loss: {confidence: 0.9}", "confidence goes with better_by or worse_by"),
        ("loss: {better_by: 1, confidence: 95}", "between 0 and 1, not 95"),
        ("loss: 1", "its bounds are missing"),
        ("forgetting: {at_least: 1}", "it takes at_most"),
        ("forgeting.loss: {at_most: 1}", "is no metric"),
        ("matches: {at_least: 1}", "pattern is missing"),
        ("matches: {pattern: '(', at_least: 1}", "is no regular expression"),
        ("stops: {pattern: 'a', at_least: 1}", "pattern goes with matches"),
        ("length: {better_by: 1}", "neither better nor worse"),
        ("loss: {at_most: 1}\nloss: {at_most: 2}", "gate.yaml:2 loss is given twice"),
        ("", "holds no lines"),
        ("- loss", "must consist of"),
    ],
)
def test_a_mistyped_gate_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        held(tmp_path, text)
    assert says in str(caught.value)


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        held(tmp_path, "los: {at_most: 1}\nbleu: {atleast: 1}\n")
    assert len(caught.value.mistakes) == 2


def test_a_line_that_compares_needs_a_base(tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("loss: {better_by: 0.1}\nforgetting: {at_most: 1}\n")
    lines = read_gate(tmp_path / "gate.yaml")
    alone = Asked(run=None, tuned="m", base=None)
    with pytest.raises(UsageError, match="compares with a base model, and there is none"):
        refuse_unmeasured(lines, alone, None)
    with pytest.raises(UsageError, match="--no_forgetting"):
        refuse_unmeasured(lines, Asked(run=None, tuned="a", base="b"), False)
    refuse_unmeasured(lines, Asked(run=None, tuned="a", base="b"), None)


def test_junit_says_which_lines_failed(tmp_path: Path) -> None:
    lines = [
        Held(name="loss: at_most 1", holds=False, says="it is 2 <\x00>"),
        Held(name="stops: at_least 1", holds=True, says="it is 1"),
    ]
    write_junit(tmp_path / "out.xml", lines, seconds=1.5, model="runs/a & b")
    suite = ElementTree.parse(tmp_path / "out.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("time")) == ("2", "1", "1.500")
    failed, passed = suite
    assert failed.get("classname") == "runs/a & b" and failed.find("failure") is not None
    assert passed.get("name") == "stops: at_least 1" and passed.find("failure") is None
