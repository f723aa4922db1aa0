"""Questions to the user: what of a file has more than one reading, each with the flags for it.

A question is a problem of the whole file that stops a run. Each suggestion is complete: following
it alone answers all that is asked about the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fine_tuning.dataset.convert.dialogue.rendered import is_rendered
from fine_tuning.dataset.convert.dialogue.speakers import speaks
from fine_tuning.dataset.convert.plan import UNUSED, Plan
from fine_tuning.dataset.insight.sensitive import masked
from fine_tuning.dataset.recognise.asking.meanings import SAID, meaning_by_name, meaning_of
from fine_tuning.dataset.recognise.asking.unread import Column, Unread, text_within
from fine_tuning.dataset.recognise.asking.ways import flags, ways_to_read
from fine_tuning.dataset.recognise.by_columns import ALONE
from fine_tuning.dataset.recognise.formats import all_formats, label_names
from fine_tuning.dataset.recognise.mapping import mapping_of
from fine_tuning.dataset.recognise.vendors import vendor_advice
from fine_tuning.dataset.sources import Source
from fine_tuning.values.spec import DataSpec

_MOST = 6  # columns that a message describes

# Meaning -> our columns that it may be read as, in words. The first that the format has is taken.
_READINGS: Mapping[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "choices": ((("choices",), "the choices, below the question"),),
    "reasoning": (
        (("reasoning",), "before the answer, as <think>"),
        (("completion", "output"), "the answer itself"),
    ),
    "system": ((("system",), "the system prompt"),),
    "context": ((("input",), "part of the prompt"), (("system",), "the system prompt")),
    "prompt": ((("input",), "part of the prompt"),),
    "answer": ((("completion", "output"), "the answer"),),
    "text": (
        (("input",), "part of the prompt"),
        (("reasoning",), "before the answer, as <think>"),
        (("completion", "output"), "the answer itself"),
    ),
    "media": ((("images",), "its pictures"),),
}


@dataclass(frozen=True)
class _Asked:
    """A column that is not read and matters."""

    name: str
    meaning: str
    column: Column

    def said(self) -> str:
        example = next((text for text in self.column.examples if text), "")
        shown = " ".join(example.split())
        shown = shown if len(shown) <= 40 else shown[:37] + "..."
        what = f"differs from {self.column.beside}" if self.column.beside else SAID[self.meaning]
        return f'"{self.name}" {what} ({shown})'


def questions_of(
    source: Source,
    plan: Plan,
    unread: Unread,
    rows: Sequence[Mapping[str, Any]],
    spec: DataSpec,
    *,
    kept: int,
) -> Iterator[tuple[str, str]]:
    """Everything that is asked about one file, of which `kept` rows are usable: (code, message)."""
    by_hand = spec.columns or spec.text_column or spec.dataset_format != "auto"
    if not by_hand and (said := mapping_of(source).said):
        yield "other_mapping", said
    if not kept and (form := vendor_advice(source, rows)):
        yield "other_form", form
        return
    if not plan.format:
        if message := ways_to_read(rows, spec):
            yield "columns_unknown", message
        return
    if not plan.allow_unanswered and (plan.format == ALONE or (not kept and _answers_hold(rows))):
        message = ways_to_read(rows, spec)
        if message and "--text_column" not in message:  # else there is a prompt and nothing more
            yield "answer_unread", f"no text is read as the answer. {message}"
        return
    if rendered := rendered_question(plan, rows):
        yield rendered
    if columns := column_question(plan, unread, rows, spec):
        yield columns


def _answers_hold(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether what is called an answer holds objects or lists of texts."""
    return any(
        isinstance(value, (dict, list)) and not any(map(speaks, value))
        for row in rows
        for name, value in row.items()
        if meaning_by_name(name) == "answer"
    )


def column_question(
    plan: Plan, unread: Unread, rows: Sequence[Mapping[str, Any]], spec: DataSpec
) -> tuple[str, str] | None:
    """The question about columns that no format reads, as (code, message)."""
    known = all_formats().get(plan.format)
    if known is None:
        return None
    repeated = _repeating(rows, unread)
    dialogues = known.converter == "messages"
    asked = [
        _Asked(name, meaning, column)
        for name, column in unread.items()
        if name not in repeated
        and (meaning := meaning_of(name, column, known.kind, dialogues=dialogues))
    ]
    if not asked:
        return None
    if known.kind == "text" and any(column.meaning == "role" for column in asked):
        return "rows_are_messages", _messages(asked, spec)
    described = "; ".join(column.said() for column in asked[:_MOST])
    more = f"; and {len(asked) - _MOST} more" if len(asked) > _MOST else ""
    ways = " | ".join(_ways(plan, asked, rows, spec))
    return "column_unread", masked(f"{described}{more}. Choose: {ways}")


def _ways(
    plan: Plan, asked: Sequence[_Asked], rows: Sequence[Mapping[str, Any]], spec: DataSpec
) -> Iterator[str]:
    """Each reading as a complete set of flags, and what it means."""
    names = [column.name for column in asked]
    kind = all_formats()[plan.format].kind
    if kind == "text":
        known = all_formats()["text"].columns["text"]
        there = (name for row in rows for name in row)
        text = next((name for name in there if plan.renames.get(name, name) in known), "text")
        yield from _ways_of_text(asked, names, text, spec)
    elif len(all_at_once := _first_readings(plan, asked)) > 1:
        rest = [name for name in names if name not in all_at_once.values()]
        yield f"{flags(spec, all_at_once, rest)} (each as what it looks like)"
    columns = all_formats()[plan.format].columns
    for column in asked if kind != "text" else ():
        rest = [name for name in names if name != column.name]
        if beside := column.column.beside:
            rival = next((our for our, theirs in columns.items() if beside in theirs), "")
            yield f"{flags(spec, {rival: column.name}, rest)} (instead of {beside})"
            if rival in ("prompt", "instruction") and "input" in columns:
                yield f"{flags(spec, {'input': column.name}, rest)} (below {beside})"
            continue
        for ours, what in _READINGS.get(column.meaning, ()):
            name = next((our for our in ours if our in columns), "")
            if name:
                yield f"{flags(spec, {name: column.name}, rest)} ({what})"
        if column.meaning == "rejected" and kind == "chat":
            yield f"{flags(spec, {'rejected': column.name}, rest)} (preference pairs)"
        if column.meaning == "rating" and kind == "chat" and _is_label(column.column):
            words = flags(spec, {"label": column.name}, rest)
            yield f"{words} --dataset_format kto (answers that are wanted or not)"
    yield f"{flags(spec, {}, names)} (train without {'it' if len(names) == 1 else 'them'})"


def _first_readings(plan: Plan, asked: Sequence[_Asked]) -> dict[str, str]:
    """Our column -> theirs, each by its first reading, where no two want the same."""
    found: dict[str, str] = {}
    for column in asked:
        for ours, _ in _READINGS.get(column.meaning, ())[:1]:
            name = next((our for our in ours if our in all_formats()[plan.format].columns), "")
            if name and name not in found and not column.column.beside:
                found[name] = column.name
    return found


def _ways_of_text(
    asked: Sequence[_Asked], names: Sequence[str], text: str, spec: DataSpec
) -> Iterator[str]:
    """For rows that would be trained as plain text: as a prompt and an answer."""
    for column in asked:
        rest = [name for name in names if name != column.name]
        if column.meaning == "media":
            read = {"images": column.name, "completion": text}
            words = flags(spec, read, rest) + " --dataset_format prompt_completion"
            yield f"{words} (the text is the answer to the picture)"
        elif column.meaning in ("prompt", "context", "system"):
            read = {"prompt": column.name, "completion": text}
            yield f"{flags(spec, read, rest)} (a prompt and its answer)"
        elif column.meaning in ("rating", "answer", "text", "reasoning"):
            read = {"prompt": text, "completion": column.name}
            yield f"{flags(spec, read, rest)} (a prompt and its answer)"


def _messages(asked: Sequence[_Asked], spec: DataSpec) -> str:
    names = [column.name for column in asked]
    described = "; ".join(column.said() for column in asked[:_MOST])
    return masked(
        f"{described}. Join the messages of a dialogue into one row"
        ' {"messages": [{"role": ..., "content": ...}, ...]}; or train each as a text of its own:'
        f" {flags(spec, {}, names)}"
    )


def _is_label(column: Column) -> bool:
    """Whether all values that were seen are ways to write true or false."""
    return {*column.types} <= {"bool", "int", "float", "str"} and all(
        text.strip().lower() in label_names() for text in column.examples
    )


def _repeating(rows: Sequence[Mapping[str, Any]], unread: Unread) -> set[str]:
    """Columns that only repeat what other columns of their row say (a rendered prompt)."""
    counts: dict[str, list[int]] = {}
    for row in rows[:50]:
        whole = {name: text_within(value) for name, value in row.items()}
        read = [t.strip() for n, t in whole.items() if n not in unread and len(t.strip()) > 1]
        for name in unread.keys() & whole.keys():
            text = whole[name].strip()
            if not text or not read:
                continue
            holds = all(other in text for other in read) or any(text in other for other in read)
            seen = counts.setdefault(name, [0, 0])
            seen[0] += holds
            seen[1] += 1
    return {name for name, (holds, of) in counts.items() if holds >= 0.9 * of}


# ----- text that is not what it seems ----------------------------------------------------------


def rendered_question(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Whether most of the first rows of plain text are dialogues that a template rendered."""
    if plan.format != "text" or not plan.recognised:
        return None
    named = {yours: ours for yours, ours in plan.renames.items() if not ours.endswith(UNUSED)}
    texts = [
        value
        for row in rows
        for name, value in row.items()
        if named.get(name, name) in ("text", "content") and isinstance(value, str)
    ]
    marks = [mark for text in texts if (mark := is_rendered(text))]
    if not marks or len(marks) * 2 < len(texts):
        return None
    mark = marks[0][:30]
    return "rendered_chat", (
        f"{len(marks)} of the first {len(texts)} texts hold dialogues as a template renders them"
        f' ("{mark}"): their prompts would be trained as well, and another template may be put'
        " around them. Choose: --dataset_format rendered (read back into turns: the answers are"
        " trained) | --dataset_format text (train each text as it is)"
    )
