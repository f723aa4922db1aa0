"""What looks wrong in the texts of a row: each check names what it saw, or None.

Most rows are fine, so each check says first, of many rows at once, which of them it may concern.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from fine_tuning.dataset.insight.rows import Row

LONG_ANSWER = 120  # characters from which an answer is expected to end like a sentence
ONE_WORD = 30  # characters
REPEATED_PROMPT = 20  # characters of prompt that an answer does not begin with by chance

_HTML = re.compile(
    r"</(?:p|div|span|a|b|i|em|strong|ul|ol|li|table|tr|td|th|h[1-6]|br|font|script|style)>"
    r"|<br ?/?>|<(?:p|div|span|li|ul|ol|td|tr)>"
    r"|&(?:nbsp|amp|lt|gt|quot|apos|#[0-9]{1,6}|#x[0-9A-Fa-f]{1,6});"
)
_ABOUT_MARKUP = re.compile(
    r"html|xml|css|javascript|jsx|vue|react|svg|markup|网页|标签", re.IGNORECASE
)
_PLACEHOLDER = re.compile(r"\{\{ ?[A-Za-z_][\w.]{0,40} ?\}\}")
_REFUSAL = re.compile(
    r"[Aa]s an AI(?: language)? model|I'm (?:just )?an AI|I(?:'m| am) sorry, but (?:I|as an AI)"
    r"|作为(?:一个|一名)?(?:AI|人工智能)"
)
# Without it the rules for `_suspects` find nothing (insight/suspects.py).
SUSPECT = rf"{_HTML.pattern}|```|~~~|\{{\{{|{_REFUSAL.pattern}"
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_LIST_ITEM = re.compile(r"\s*(?:[-*+•·|#]|[0-9]{1,3}[.)、:]|[A-Za-z][.)])")
_SENTENCE_END = frozenset(".!?。！？…」』”’\"')）]】}》>`*_|:：;；~～$-—")


@dataclass(frozen=True, slots=True)
class RowText:
    """The texts of a row that the checks look at; `answer` is the last one, or the chosen one."""

    prompt: str
    answer: str


def row_text(row: Row) -> RowText:
    """The last prompt and its answer; continued-pretraining text is an answer without prompt."""
    turns = row.conversations
    if row.is_text:
        return RowText("", turns[0].value)
    if row.chosen is not None:
        return RowText(turns[-1].value if turns else "", row.chosen.value)
    if len(turns) < 2:
        return RowText("", turns[-1].value if turns else "")
    return RowText(turns[-2].value, turns[-1].value)


@dataclass(frozen=True, slots=True)
class Texts:
    """The prompts and answers of many rows, also without the white space around them."""

    prompts: list[str]
    answers: list[str]
    bare_prompts: list[str]
    bare_answers: list[str]
    prompt_lengths: npt.NDArray[np.int64]
    answer_lengths: npt.NDArray[np.int64]
    long: list[int]  # rows whose answers are expected to end like a sentence
    suspects: list[int]  # rows in whose JSON SUSPECT was found

    def row(self, index: int) -> RowText:
        """The texts of one row."""
        return RowText(self.prompts[index], self.answers[index])


def row_texts(rows: Sequence[Row], suspects: list[int]) -> Texts:
    """As `row_text` for each of the rows."""
    prompts, answers = _prompts_and_answers(rows)
    prompt_lengths = np.fromiter(map(len, prompts), np.int64, len(rows))
    answer_lengths = np.fromiter(map(len, answers), np.int64, len(rows))
    is_long = (answer_lengths >= LONG_ANSWER) & (prompt_lengths > 0)
    return Texts(
        prompts,
        answers,
        [prompt.strip() for prompt in prompts],
        [answer.strip() for answer in answers],
        prompt_lengths,
        answer_lengths,
        np.flatnonzero(is_long).tolist(),
        suspects,
    )


def _prompts_and_answers(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    dialogues = [row.conversations for row in rows]
    if min(map(len, dialogues), default=0) > 1:
        prompts = [turns[-2].value for turns in dialogues]
        answers = [turns[-1].value for turns in dialogues]
        if all(answers) and not any(row.chosen for row in rows):  # neither text nor preference
            return prompts, answers
    texts = [row_text(row) for row in rows]
    return [text.prompt for text in texts], [text.answer for text in texts]


def one_word(text: RowText) -> str | None:
    """An answer of one word; without spaces between words, of up to four characters."""
    answer = text.answer.strip()
    limit = ONE_WORD if answer.isascii() else 4
    if not text.prompt or len(answer) > limit or len(answer.split(None, 1)) != 1:
        return None
    return f"the answer is one word ({len(answer)} characters)"


def markup(text: RowText) -> str | None:
    """HTML tags or entities, unless the row is about markup or shows it as code."""
    answer = text.answer
    if "<" not in answer and "&" not in answer:
        return None
    match = _HTML.search(answer)
    if match is None or "```" in answer or _ABOUT_MARKUP.search(text.prompt or answer):
        return None
    return f"HTML is left in the answer ({match[0]})"


def placeholder(text: RowText) -> str | None:
    """A placeholder of a template that nobody filled in, where it is not asked for or code."""
    match = _PLACEHOLDER.search(text.answer) if "{{" in text.answer else None
    if match is None or "```" in text.answer or "{{" in text.prompt:
        return None
    return f"the answer holds {match[0]}"


def refusal(text: RowText) -> str | None:
    """An answer of another assistant that refuses, near its beginning."""
    match = _REFUSAL.search(text.answer[:200])
    return f'the answer says "{match[0]}"' if match else None


def repeats_prompt(text: RowText) -> str | None:
    """An answer that is the prompt, or begins with all of it."""
    prompt = text.prompt.strip()
    answer = text.answer.lstrip()
    if not prompt or not answer.startswith(prompt):
        return None
    if len(answer.rstrip()) == len(prompt):
        return "the answer is the prompt itself"
    return "the answer begins with the whole prompt" if len(prompt) >= REPEATED_PROMPT else None


def open_code_block(text: RowText) -> str | None:
    """An answer with a code block that is never closed."""
    answer = text.answer
    if "```" not in answer and "~~~" not in answer:
        return None
    if sum(1 for _ in _FENCE.finditer(answer)) % 2 == 0:
        return None
    return "the answer looks cut off: a code block is opened and not closed"


def ends_mid_sentence(text: RowText) -> str | None:
    """A long answer whose last paragraph stops without a mark that ends it.

    List items and short last lines (verse, code, an address, a signature) end without one.
    """
    answer = text.answer.rstrip()[-2000:]
    last = answer[-1:]
    if last in _SENTENCE_END or not (last.isalnum() or last in ",，、("):
        return None
    before, _, line = answer.rpartition("\n")
    if before and (_LIST_ITEM.match(line) or len(line) < (40 if line.isascii() else 15)):
        return None
    return f"the answer looks cut off: it ends with {last!r}, in the middle of a sentence"


@dataclass(frozen=True, slots=True)
class Check:
    """A code, the rule for one row, and the rows of many that the rule may find something in."""

    code: str
    rule: Callable[[RowText], str | None]
    may_concern: Callable[[Texts], Iterable[int]]


def _short_answers(texts: Texts) -> Iterable[int]:
    lengths = np.fromiter(map(len, texts.bare_answers), np.int64, len(texts.bare_answers))
    found: list[int] = np.flatnonzero(lengths <= ONE_WORD).tolist()
    return found


def _same_beginnings(texts: Texts) -> Iterable[int]:
    begin = map(str.startswith, texts.bare_answers, texts.bare_prompts)
    return [index for index, same in enumerate(begin) if same and texts.bare_prompts[index]]


def _open_ends(texts: Texts) -> Iterable[int]:
    answers = texts.bare_answers
    return [index for index in texts.long if answers[index][-1:] not in _SENTENCE_END]


CHECKS = (
    Check("one_word_answer", one_word, _short_answers),
    Check("html_markup", markup, attrgetter("suspects")),
    Check("placeholder_left", placeholder, attrgetter("suspects")),
    Check("refusal", refusal, attrgetter("suspects")),
    Check("repeats_prompt", repeats_prompt, _same_beginnings),
    Check("cut_off", open_code_block, attrgetter("suspects")),
    Check("ends_mid_sentence", ends_mid_sentence, _open_ends),
)


def texts_of(row: Row) -> Iterator[tuple[str, str]]:
    """Every text of a row with the words that name its place."""
    if row.system:
        yield "the system prompt", row.system
    for number, turn in enumerate(row.conversations, start=1):
        yield f"turn {number} ({turn.role})", turn.value
    if row.chosen is not None:
        yield "the chosen answer", row.chosen.value
    if row.rejected is not None:
        yield "the rejected answer", row.rejected.value
