"""`--judge URL`: a model behind an OpenAI-compatible API says which of two answers is better.

Each pair is shown in both orders, because judges favour a place (Zheng et al., arXiv:2306.05685,
section 3.4): an answer wins if it is preferred in both, and everything else is a tie.
"""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fine_tuning.errors import EnvironmentProblem
from fine_tuning.measures.paired import share_interval
from fine_tuning.values.answers.scores import Answer, Score, Scored

if TYPE_CHECKING:
    import httpx  # where nobody judges, nobody waits for it

AT_ONCE = 8
SECONDS = 120
KEY = "JUDGE_API_KEY"
RUBRIC = "Which answer is more correct and more helpful? Length alone is no merit."
PROMPT = """\
{rubric}

Question:
{question}

A correct answer, for reference:
{expected}

Answer A:
{first}

Answer B:
{second}

Reply with one word: A, B, or TIE."""
WORD = re.compile(r"\b(A|B|TIE)\b")
Choice = Literal["first", "second", "tie"]
CHOICES: dict[str, Choice] = {"A": "first", "B": "second", "TIE": "tie"}


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Who is asked, and by which rubric. `model` None: the first that the API lists."""

    url: str
    model: str | None = None
    rubric: str = RUBRIC

    def client(self) -> "httpx.Client":
        """A connection, with the key of the environment, if there is one."""
        import httpx

        key = os.environ.get(KEY)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        base = self.url.rstrip("/")
        base = base if base.endswith("/v1") else f"{base}/v1"
        return httpx.Client(base_url=base, headers=headers, timeout=SECONDS)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How often the tuned model's answer won, lost, and neither."""

    wins: int
    losses: int
    ties: int
    unread: int  # replies that name no answer: they count as ties

    @property
    def score(self) -> Score:
        """The share of rows that each side won, a tie counting half for both."""
        rows = self.wins + self.losses + self.ties
        return Score(
            name="Preferred by the judge",
            metric="judge",
            before=(self.losses + self.ties / 2) / rows,
            after=(self.wins + self.ties / 2) / rows,
            n=rows,
            kind="share",
            change=share_interval(self.wins, self.losses, rows),
            moved=(self.wins, self.losses),
            leads=False,
        )


def judged(judge: Judge, before: Scored, after: Scored, told: Callable[[int], None]) -> Judged:
    """Every pair of answers in both orders; equal answers are ties that nobody is asked about.

    Raises EnvironmentProblem if the judge cannot be reached, or refuses.
    """
    pairs = list(zip(before.samples, after.samples, strict=True))
    wins = losses = unread = 0
    with judge.client() as client, ThreadPoolExecutor(AT_ONCE) as pool:
        model = judge.model or _first_model(client)

        def ask(pair: tuple[Answer, Answer]) -> Sequence[Choice | None]:
            base, tuned = pair
            if base.answer == tuned.answer:
                return ("tie", "tie")
            return (
                _asked(client, model, judge.rubric, base, base.answer, tuned.answer),
                _asked(client, model, judge.rubric, base, tuned.answer, base.answer),
            )

        for done, choices in enumerate(pool.map(ask, pairs), 1):
            wins += choices == ("second", "first")
            losses += choices == ("first", "second")
            unread += choices.count(None)
            told(done)
    return Judged(wins=wins, losses=losses, ties=len(pairs) - wins - losses, unread=unread)


def _asked(
    client: "httpx.Client", model: str, rubric: str, row: Answer, first: str, second: str
) -> Choice | None:
    content = PROMPT.format(
        rubric=rubric, question=row.question, expected=row.expected, first=first, second=second
    )
    body = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": 1024,
    }
    reply = _replied(client, "POST", "/chat/completions", json=body)
    try:
        text = str(reply["choices"][0]["message"]["content"]).rpartition("</think>")[2]
    except (KeyError, IndexError, TypeError):
        return None
    words = WORD.findall(text.upper() if len(text) < len("TIE.  ") else text)
    return CHOICES[words[-1]] if words else None


def _first_model(client: "httpx.Client") -> str:
    reply = _replied(client, "GET", "/models")
    try:
        return str(reply["data"][0]["id"])
    except (KeyError, IndexError, TypeError):
        raise EnvironmentProblem(
            f"The judge at {client.base_url} lists no model.", fix="name one with --judge_model"
        ) from None


def _replied(client: "httpx.Client", method: str, path: str, **body: Any) -> Any:
    """The reply as JSON; a busy or failing server is asked three times."""
    import httpx

    for _ in range(3):
        try:
            reply = client.request(method, path, **body)
            if reply.status_code in (429, 500, 502, 503, 504):
                continue
            reply.raise_for_status()
            return reply.json()
        except httpx.HTTPStatusError as error:
            said = error.response.text[:200]
            raise _unreached(client, f"{error.response.status_code}: {said}") from error
        except (httpx.HTTPError, ValueError) as error:
            cause = f"{type(error).__name__}: {error}"
            raise _unreached(client, cause) from error
    raise _unreached(client, f"it answers {reply.status_code}")


def _unreached(client: "httpx.Client", why: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"The judge at {client.base_url} gives no answer.",
        why=why,
        fix=f"--judge takes the address of an OpenAI-compatible API; its key is read from {KEY}",
    )
