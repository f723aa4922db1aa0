"""A judge behind an OpenAI-compatible API is asked in both orders."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fine_tuning.cli.eval.judge import Judge, judged
from fine_tuning.errors import EnvironmentProblem
from tests.local_site import Answers, serving
from tests.measures.scored import scored

BEFORE = scored([("bad", "x"), ("good", "x"), ("bad", "x"), ("bad", "x"), ("same", "x")])
AFTER = scored([("good", "x"), ("bad", "x"), ("good", "x"), ("bad too", "x"), ("same", "x")])
Reply = Callable[[str, str], str]


@contextmanager
def judging(reply: Reply, status: list[int] | None = None) -> Iterator[tuple[str, list[Any]]]:
    """The address of a judge that replies so to two answers, and what it was asked."""
    asked: list[Any] = []
    failures = status or []

    class Site(Answers):
        def do_GET(self) -> None:
            self.sent(200, {"data": [{"id": "the-judge"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"key": self.headers.get("Authorization"), "path": self.path, **body})
            if failures:
                self.sent(failures.pop(), {"error": "busy"})
                return
            content = body["messages"][0]["content"]
            first, second = re.findall(r"Answer [AB]:\n(.*)", content)
            message = {"role": "assistant", "content": reply(first, second)}
            self.sent(200, {"choices": [{"message": message}]})

        def sent(self, code: int, value: Any) -> None:
            data = json.dumps(value).encode()
            self.answer(code, data, {"Content-Type": "application/json"})
            if self.command == "POST":
                self.wfile.write(data)

    with serving(Site) as address:
        yield address, asked


def honest(first: str, second: str) -> str:
    liked = [text == "good" for text in (first, second)]
    return {(True, False): "A", (False, True): "<think>A or B?</think>B"}.get(tuple(liked), "TIE")  # type: ignore[arg-type]  # two


def told(done: int) -> None:
    """Nobody draws a bar."""


def test_wins_losses_and_ties_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "a key")
    with judging(honest) as (address, asked):
        found = judged(Judge(url=address), BEFORE, AFTER, told)
    assert (found.wins, found.losses, found.ties, found.unread) == (2, 1, 2, 0)
    assert len(asked) == 8, "equal answers are not shown"
    assert {it["path"] for it in asked} == {"/v1/chat/completions"}
    assert {(it["model"], it["key"], it["temperature"]) for it in asked} == {
        ("the-judge", "Bearer a key", 0)
    }
    score = found.score
    assert score.before == pytest.approx(0.4) and score.after == pytest.approx(0.6)
    assert score.moved == (2, 1)
    assert score.change and score.change[0] < 0.2 < score.change[1]


def test_a_judge_that_always_likes_the_first_answer_decides_nothing() -> None:
    with judging(lambda first, second: "A") as (address, _):
        found = judged(Judge(url=f"{address}/v1/", model="m"), BEFORE, AFTER, told)
    assert (found.wins, found.losses, found.ties) == (0, 0, 5)


def test_replies_that_name_no_answer_are_counted() -> None:
    with judging(lambda first, second: "I cannot say.") as (address, _):
        found = judged(Judge(url=address), BEFORE, AFTER, told)
    assert (found.ties, found.unread) == (5, 8)


def test_the_rubric_is_shown_and_a_busy_judge_is_asked_again() -> None:
    with judging(honest, status=[503, 429]) as (address, asked):
        found = judged(Judge(url=address, rubric="Be kind."), BEFORE, AFTER, told)
    assert (found.wins, found.losses) == (2, 1) and len(asked) == 10
    assert all(it["messages"][0]["content"].startswith("Be kind.") for it in asked)


def test_a_judge_that_refuses_or_is_not_there_is_named() -> None:
    with (
        judging(honest, status=[401] * 99) as (address, _),
        pytest.raises(EnvironmentProblem, match="gives no answer") as caught,
    ):
        judged(Judge(url=address), BEFORE, AFTER, told)
    assert "401" in caught.value.why
    with pytest.raises(EnvironmentProblem, match="gives no answer"):
        judged(Judge(url=address), BEFORE, AFTER, told)
