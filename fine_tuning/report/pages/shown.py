"""Data made fit to be shown: clipped, with invisible characters made visible, and aligned."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from markupsafe import Markup, escape

from fine_tuning.escaping import visible
from fine_tuning.report.facts.page import TokenDifference
from fine_tuning.values.shown import MaskedRow, Span

_CONTEXT = 6
_MOST_TOKENS = 2000  # aligning takes the square of it
_MOST_CHANGED = 120
_CODE = re.compile("`([^`\n]+)`")
_SURROGATE = re.compile("[\ud800-\udfff]")
# The control pictures of Unicode stand for the characters that HTML does not allow.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)} | {
    0x7F: 0x2421
}


def printable(html: str) -> str:
    """The page without characters that HTML or UTF-8 cannot hold (NUL, escape, lone surrogate),
    and with those written out that would turn its text around."""
    return visible(_SURROGATE.sub("\ufffd", html.translate(_PICTURES)))


def clip(text: str, most: int) -> str:
    """The text, or its start and how much is left out."""
    if len(text) <= most:
        return text
    return f"{text[:most]} … ({len(text) - most:,} more characters)"


def title(name: str) -> str:
    """`exact_duplicates` as `Exact duplicates`."""
    words = str(name).replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def clip_row(row: MaskedRow, most: int) -> MaskedRow:
    """The row with at most `most` characters, and how much is left out."""
    spans: list[Span] = []
    room = most
    for span in row.spans:
        if room <= 0:
            break
        spans.append(Span(span.text[:room], span.trained))
        room -= len(span.text)
    left_out = sum(len(span.text) for span in row.spans) - most
    title = row.title if left_out <= 0 else f"{row.title}, its first {most:,} characters"
    return MaskedRow(title, tuple(spans))


def with_newlines(text: str) -> Markup:
    """The text as HTML with each newline shown as a sign before the break."""
    sign = Markup("<i>↵</i>\n")
    return Markup(escape(text.replace("\r\n", "\n"))).replace("\n", sign)


def with_code(text: str) -> Markup:
    """The text as HTML with what stands in backticks set as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


@dataclass(frozen=True, slots=True)
class TokenRun:
    """Tokens that are the same on both sides, or only on one; `skipped` ones are not shown."""

    side: Literal["both", "trained", "served"]
    tokens: tuple[str, ...]
    skipped: int = 0


def token_runs(difference: TokenDifference) -> tuple[TokenRun, ...]:
    """The two token lists aligned, with a few equal tokens around each difference."""
    trained, served = difference.trained[:_MOST_TOKENS], difference.served[:_MOST_TOKENS]
    runs: list[TokenRun] = []
    matcher = SequenceMatcher(a=trained, b=served, autojunk=False)
    opcodes = matcher.get_opcodes()
    for i, (kind, a, a_end, b, b_end) in enumerate(opcodes):
        if kind == "equal":
            runs += _equal(trained[a:a_end], first=i == 0, last=i == len(opcodes) - 1)
            continue
        if a_end > a:
            runs += _changed("trained", trained[a:a_end])
        if b_end > b:
            runs += _changed("served", served[b:b_end])
    return tuple(runs)


def _changed(side: Literal["trained", "served"], tokens: tuple[str, ...]) -> list[TokenRun]:
    shown = TokenRun(side, tokens[:_MOST_CHANGED])
    left_out = len(tokens) - len(shown.tokens)
    return [shown, TokenRun(side, (), left_out)] if left_out else [shown]


def _equal(tokens: tuple[str, ...], *, first: bool, last: bool) -> list[TokenRun]:
    head = () if first else tokens[:_CONTEXT]
    tail = () if last else tokens[-_CONTEXT:]
    skipped = len(tokens) - len(head) - len(tail)
    if skipped <= 0 or (first and last):
        return [TokenRun("both", tokens)]
    runs = [TokenRun("both", head)] if head else []
    runs.append(TokenRun("both", (), skipped))
    return [*runs, TokenRun("both", tail)] if tail else runs
