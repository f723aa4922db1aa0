"""The fast path of prompts with an answer, and of texts."""

from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from fine_tuning.dataset.convert.fast_path.path import (
    FastCounts,
    FastPath,
    Make,
    Spell,
    columns_of,
    path_of,
)
from fine_tuning.dataset.convert.fast_path.seams import (
    ASSISTANT,
    DOCUMENT,
    DOCUMENT_END,
    END,
    LESS,
    NO_SYSTEM,
    NOTHING,
    SYSTEM,
    USER,
    has_placeholder,
    system_of,
)
from fine_tuning.dataset.convert.fast_path.spelling import QUOTE, VISIBLE, is_visible, text_of
from fine_tuning.dataset.convert.plan import Plan


def pairs(plan: Plan, names: list[str], rows: list[dict[str, Any]]) -> FastPath | None:
    """Alpaca and prompt/completion: a prompt in one or two columns, and an answer."""
    columns = columns_of(plan, names)
    listed = plan.format == "prompt_completion"
    belle = plan.format == "belle" or (plan.recognised and not listed)
    ask, answer = ("prompt", "completion") if listed else ("instruction", "output")
    if columns is None or not {ask, answer} <= columns[0].keys():
        return None
    found, extra = columns
    if found.keys() - {ask, answer, "input", "system", "history", "tools"}:
        return None
    known = {"q": ask, "a": answer, "p": "input", "s": "system", "h": "history", "t": "tools"}
    fields = {short: (found[ours], Raw) for short, ours in known.items() if ours in found}
    counts = FastCounts()
    make = _pair_maker(fields, counts, belle=belle, listed=listed)
    return path_of(fields, extra, rows, make, counts)


def _pair_maker(
    fields: Mapping[str, Any], counts: FastCounts, *, belle: bool, listed: bool
) -> Make:
    has_input, has_more = "p" in fields, bool(fields.keys() & {"s", "h", "t"})
    # A prompt or completion may be a list as JSON text, an instruction a dialogue.
    odd_start = "[" if listed else "Human" if belle else "\0"
    clear = VISIBLE - {ord(odd_start[0])}  # one look-up clears nearly every row
    clear_answer = clear if listed else VISIBLE

    def is_plain(text: bytes) -> bool:
        return is_visible(text) and not text_of(text).lstrip().startswith(odd_start)

    is_answer = is_plain if listed else is_visible

    def make(row: Any, spell: Spell) -> bytes | None:
        asked, answer = spell(row.q), spell(row.a)
        if not (asked[0] == QUOTE and asked[1] in clear) and not is_plain(asked):
            return None
        if not (answer[0] == QUOTE and answer[1] in clear_answer) and not is_answer(answer):
            return None
        if has_input and row.p not in NOTHING:
            more = spell(row.p)
            if not (more[0] == QUOTE and more[1] in VISIBLE) and not is_visible(more):
                return None
            asked = asked[:-1] + b"\\n" + more[1:]
        end = NO_SYSTEM
        if has_more:
            system = system_of(row, spell)
            if system is None:
                return None
            end = SYSTEM + system + END
        if LESS in asked and has_placeholder(asked):
            return None
        if LESS in answer:
            if has_placeholder(answer):
                return None
            counts.with_reasoning += b"<think>" in answer
        return b"".join((USER, asked, ASSISTANT, answer, end))

    return make


def texts(plan: Plan, names: list[str], rows: list[dict[str, Any]]) -> FastPath | None:
    """Text for continued pretraining."""
    columns = columns_of(plan, names)
    if columns is None or "text" not in columns[0] or len(columns[0]) > 1:
        return None
    found, extra = columns

    def make(row: Any, spell: Spell) -> bytes | None:
        text = spell(row.q)
        if not is_visible(text):
            return None
        return b"".join((DOCUMENT, text, DOCUMENT_END))

    return path_of({"q": (found["text"], Raw)}, extra, rows, make, FastCounts())
