"""Rows that gained and lost stand side by side, and what was forgotten beside them."""

from dataclasses import replace
from pathlib import Path

import pytest

from fine_tuning.ledger import RowLoss
from fine_tuning.report import write_report
from fine_tuning.report.facts.moved import general_rows, moved
from fine_tuning.report.facts.page import RunFacts
from fine_tuning.values.answers.scores import Answer, Scored, Scores


def side(answers: list[str], losses: list[float], general: float, stops: bool = True) -> Scored:
    samples = tuple(
        Answer(
            question=f"q{number}",
            expected="yes",
            answer=text,
            tokens=3,
            stopped=stops or number > 0,
        )
        for number, text in enumerate(answers)
    )
    return Scored(
        metrics={"n": len(answers), "loss": 1.0},
        losses=tuple((loss * 10, 10) for loss in losses),
        samples=samples,
        general=tuple((general + number / 100, 5) for number in range(len(general_rows()))),
    )


LAST = len(general_rows()) - 1  # the row that lost most
SCORES = Scores(
    before=side(["no", "yes", "no", "no"], [2.0, 0.2, 1.0, 1.0], general=5.0),
    after=side(["yes", "no", "no", "no"], [0.1, 2.2, 1.5, 0.5], general=9.0, stops=False),
)


def test_what_became_wrong_comes_first_and_what_was_forgotten_is_tested() -> None:
    ledger = [
        RowLoss(part="validation", row=row, file="d.jsonl", line=row + 10, tokens=3)
        for row in range(4)
    ]
    found = moved(SCORES, ledger)
    assert found is not None and found.answered == 4
    assert [row.place for row in found.lost] == ["d.jsonl:11", "d.jsonl:12"]
    assert [row.place for row in found.gained] == ["d.jsonl:10", "d.jsonl:13"]
    assert [row.question for row in found.endless] == ["q0"]
    assert found.general is not None and found.general.before == pytest.approx(1.047)
    assert found.general.change is not None and found.general.change[0] > 0.5
    assert len(found.forgotten) == len(general_rows()) > 40
    media = [*ledger[:3], RowLoss(part="validation", row=3, file="d.jsonl", line=13)]
    other = moved(SCORES, media)
    assert other is not None and other.lost[0].place == "held-out row 2", "its place is not known"


def test_nothing_is_said_of_what_was_not_scored_twice(tmp_path: Path) -> None:
    assert moved(Scores(after=SCORES.after), []) is None
    old = Scores(
        before=Scored(metrics={"n": 0}, general=((1.0, 2),)),
        after=Scored(metrics={"n": 0}, general=((1.0, 2),)),
    )
    assert moved(old, []) is None, "general rows of another version"


def test_the_page_shows_what_got_worse_side_by_side(tmp_path: Path) -> None:
    before = replace(SCORES.before, general_answers=((LAST, "It was so."), (0, "Never shown.")))
    after = replace(SCORES.after, general_answers=((LAST, '{"it": "is so"}'),))
    facts = RunFacts(moved=moved(Scores(before=before, after=after), []))
    html = write_report(tmp_path, facts, "en").read_text()
    text = html[html.index('id="moved"') :]
    assert '<span class="tag bad">forgotten</span>' in text
    assert "2 held-out rows of 4 got worse, 2 got better; 1 answer does not stop." in text
    assert text.index("Lost most") < text.index("held-out row 2") < text.index("Gained most")
    assert "<details open><summary>General rows that lost most: 5 of 48" in text
    assert general_rows()[LAST].question in text, "the row that lost most"
    assert text.index("It was so.") < text.index("{&#34;it&#34;: &#34;is so&#34;}")
    assert "Never shown." not in text and text.count("loss 1.") > 0
