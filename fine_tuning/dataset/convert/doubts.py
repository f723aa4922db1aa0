"""What is wrong with texts that are whole: damaged characters, and marks that templates own.

The marks are looked for in canonical rows, so that both paths over a file find the same ones.
"""

import re
from collections.abc import Iterator, Sequence

from fine_tuning.dataset.convert.canonical import Row, TextRow, Turn

# UTF-8 that was read as Windows-1252 or Latin-1 and saved again; U+FFFD read as GBK.
_MOJIBAKE = re.compile(
    "Ã[\x80-\xbf\u2018-\u203a\u0152-\u0178\u02c6\u02dc\u20ac\u2122]|Â[\x80-\xbf]"
    "|â(?:€[\x80-\xbf\u0152-\u0178\u02c6\u02dc\u2018-\u203a\u20ac\u2122]|\x80[\x80-\xbf])"
    "|ï»¿|ï¿½|[äåæçèé][\x80-\xbf\u2018-\u203a\u0152-\u0178\u02c6\u02dc\u20ac\u2122]"
    "[\x80-\xbf\u2018-\u203a\u0152-\u0178\u02c6\u02dc\u20ac\u2122]|锟斤拷"
)
_SPECIAL = re.compile(
    r"<\|[A-Za-z][\w .-]{0,40}\|>|<｜[^｜<>]{1,40}｜>|</?s>|<(?:eos|bos|pad|unk)>"
    r"|<(?:start|end)_of_turn>|\[/?INST\]"
)
_END = re.compile(
    r"(?:<\|(?:im_end|endoftext|eot_id|end|end_of_text|end_of_turn|return)\|>|</s>|<eos>"
    r"|<end_of_turn>|<｜end▁of▁sentence｜>)\s*\Z"
)
_THINK = re.compile(r"</?think>")

# What canonical rows must hold for any of them to be looked at. A search for one byte is ten times
# as fast as one for two: a mark begins with `<`, mojibake (but for one kind) with a letter of C3.
_MARKS = re.compile(rb"<(?:[|]|\xef\xbd\x9c|/?s>|(?:eos|bos|pad|unk)>|(?:start|end)_of_turn>)")
_OTHER_SIGNS = (b"\xbf\xbd", "斤拷".encode())
_LATIN = re.compile(
    rb"\xc3(?:[\x82\x83]|[\xa4-\xa9](?:\xc2[\x80-\xbf]|\xe2\x80|\xc5|\xcb|\xe2\x82|\xe2\x84)"
    rb"|\xa2(?:\xe2\x82\xac|\xc2\x80)|\xaf\xc2)"
)


def may_hold_doubts(rows: bytes) -> bool:
    """Whether some of these canonical rows, one a line, must be looked at.

    Of several rows at once it is quick, and never wrong about no.
    """
    if holds_no_mark(rows):
        return False
    thinks_alone = b"think>" in rows and holds_no_mark(rows.replace(b"think>", b""))
    return not (thinks_alone and _thinks_fit(rows))


def holds_no_mark(data: bytes) -> bool:
    """Whether texts that are spelt as in this JSON hold nothing to look at, wherever they stand."""
    if b"<" in data and (b"think>" in data or _MARKS.search(data)):
        return False
    if b"\\" in data and b"\\u00" in data:
        return False
    if data.isascii():
        return True
    latin = b"\xc3" in data and _LATIN.search(data) is not None
    return not (latin or any(sign in data for sign in _OTHER_SIGNS))


def _thinks_fit(rows: bytes) -> bool:
    """Whether in each row each <think> is closed before the next one opens, and none is closed
    that was not open."""
    before, *opened = rows.split(b"<think>")
    if b"</think>" in before:
        return False
    for part in opened:
        closed = part.find(b"</think>")
        end = part.find(b"\n")
        if closed < 0 or 0 <= end < closed or part.find(b"</think>", closed + 8) >= 0:
            return False
    return True


def doubts_of(row: Row) -> Iterator[tuple[str, str]]:
    """(code, message) of what looks wrong in a row's texts; one of each code."""
    answers = _answers(row)
    texts = [(f"turn {n} ({t.role})", t.value) for n, t in enumerate(row.conversations, 1)]
    texts += [("an answer", turn.value) for turn in answers if turn not in row.conversations]
    if isinstance(row, TextRow):
        texts = [("the text", row.conversations[0].value)]
    elif row.system:
        texts.insert(0, ("the system prompt", row.system))
    for code, pattern, what in _PATTERNS:
        found = next(((w, m) for w, text in texts if (m := pattern.search(text))), None)
        if found:
            where, match = found
            around = match.string[max(0, match.start() - 12) : match.end() + 12]
            yield code, f"{where} holds {what} ({around!r})"
    yield from _special(row, texts, answers)
    for turn in answers:
        if message := _unbalanced(turn.value):
            yield "think_unbalanced", message
            break


_PATTERNS = (
    ("mojibake", _MOJIBAKE, "characters of a wrong decoding"),
    ("replacement_character", re.compile("\ufffd"), "U+FFFD, which stands for lost text"),
    ("control_in_text", re.compile("[\0-\x08\x0b\x0e-\x1f]"), "a control character"),
)


def _answers(row: Row) -> Sequence[Turn]:
    if isinstance(row, TextRow):
        return ()
    compared = [turn for name in ("chosen", "rejected") if (turn := getattr(row, name, None))]
    return [*(turn for turn in row.conversations if turn.role == "assistant"), *compared]


def _special(
    row: Row, texts: Sequence[tuple[str, str]], answers: Sequence[Turn]
) -> Iterator[tuple[str, str]]:
    for turn in answers:
        if match := _END.search(turn.value):
            yield "second_end", f"an answer ends with {match[0].strip()}; the template ends it too"
            return
    for where, text in texts:
        if match := _SPECIAL.search(text):
            yield "special_token", f"{where} holds {match[0]}"
            return


def _unbalanced(answer: str) -> str:
    """What is wrong with the <think> marks of an answer, or nothing."""
    marks = [match[0] for match in _THINK.finditer(answer)]
    if not marks:
        return ""
    if marks[0] == "</think>":
        return "an answer has </think> without <think> before it"
    return "" if "</think>" in marks else "an answer has <think> that is never closed"
