"""The fast path for clean JSON Lines: texts are copied as they are spelt, not decoded.

It takes only rows that the general path (`plan.Converter`) would keep without a remark, and makes
the same bytes; any other row, or block, goes to the general path, which knows what is wrong.
`tests/dataset/test_fast.py` holds the two together.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from fine_tuning.dataset.convert.canonical import TEXT, ChatRow, TextRow, Turn, seams_of
from fine_tuning.dataset.convert.dialogue.content import PLACEHOLDERS
from fine_tuning.dataset.convert.fast_path.layout import Layout, dialogue_layouts, layouts_of
from fine_tuning.dataset.convert.fast_path.spelling import (
    EMPTY,
    NO_LIST,
    NULL,
    QUOTE,
    VISIBLE,
    is_visible,
    text_of,
)
from fine_tuning.dataset.convert.plan import Plan
from fine_tuning.dataset.recognise.asking.unread import SPLIT_COLUMN
from fine_tuning.dataset.recognise.by_columns import formats_of, renamed
from fine_tuning.dataset.recognise.formats import (
    MEDIA_COLUMNS,
    all_formats,
    native_roles,
    role_names,
)

SAMPLE_ROWS = 200
MAX_EXTRA_COLUMNS = 24  # each may cost a scan of the block
_NEEDED = "qam"  # the attributes for prompt, answer and messages

Spell = Callable[[Raw], bytes]
Make = Callable[[Any, Spell], "bytes | None"]

_TURNS = [Turn("user", TEXT), Turn("assistant", TEXT)]
_USER, _ASSISTANT, _NEXT_USER, _SYSTEM, _END = seams_of(ChatRow([*_TURNS, *_TURNS[:1]], TEXT))
_NO_SYSTEM = _SYSTEM + b'""' + _END
_TEXT, _TEXT_END = seams_of(TextRow([Turn("user", TEXT), Turn("assistant", "")]))
_NOTHING = (EMPTY, NULL, UNSET)  # what a column holds that is as good as absent
_LESS = ord("<")
_PLACEHOLDERS = [mark.encode() for mark in PLACEHOLDERS.values()]
# A value of a column that nobody reads: text, or what the general path surely reads without
# a remark. A nested value may repeat a key or be deep, a long number be out of range.
_SCALAR = re.compile(rb'"|(?:-?\d{1,100}(?:\.\d{1,100})?(?:[eE][-+]?\d{1,2})?|true|false|null)\Z')


@dataclass
class FastPath:
    """`decoder` gives rows with their texts as they are spelt, or raises; `make` gives a row's
    canonical bytes, or None if the general path must look at it.

    `make` relies on valid UTF-8, and on keys that are not repeated: `layouts` or `keys` (the names
    to count) show that. It is told how to spell a text: `bytes` for as it is, or `respelt`.
    """

    decoder: msgspec.json.Decoder[Any]
    make: Make
    layouts: tuple[Layout, ...]
    keys: tuple["Key", ...]
    counts: "FastCounts"
    extra: tuple[str, ...]  # columns that nobody reads
    renamed: tuple[tuple[str, str], ...] = ()  # role names that are not the format's own


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is quoted in the file; `count` says how often a row has it, None: once."""

    quoted: bytes
    count: Callable[[Any], int] | None


@dataclass
class FastCounts:
    """What the loop counted: rows with reasoning, and turns by role where these were renamed."""

    with_reasoning: int = 0
    pairs_of_turns: int = 0

    def reset_to(self, earlier: "FastCounts") -> None:
        """Forget a block that the general path reads again."""
        self.with_reasoning = earlier.with_reasoning
        self.pairs_of_turns = earlier.pairs_of_turns


def fast_path(plan: Plan, sample: Sequence[Any]) -> FastPath | None:
    """The fast path for rows like the sample; None where the format or its columns have none."""
    rows = [row for row in sample if isinstance(row, dict)]
    if plan.format not in all_formats() or plan.tags.keys or plan.tags.roles:
        return None
    if any("." in name for name in plan.renames):  # may lead into a column
        return None
    if plan.recognised:
        names = (plan.format, *all_formats()[plan.format].includes)
        own = [(name,) for name in names]
        rows = [row for row in rows if formats_of(renamed(row, plan.renames)) in own]
    build = _BUILDERS.get(all_formats()[plan.format].converter)
    columns = [name for name, _ in Counter(key for row in rows for key in row).most_common()]
    if any(map(SPLIT_COLUMN.fullmatch, columns)):
        return None
    if build is None or not columns or (plan.recognised and _may_be_other(plan, columns)):
        return None
    return build(plan, columns, rows)


def _may_be_other(plan: Plan, names: Sequence[str]) -> bool:
    """Whether some row with these columns may fit another format as well as the file's."""
    known = {plan.renames.get(name, name) for name in names}
    own = max((s.score for s in all_formats()[plan.format].shapes if s.possible(known)), default=0)
    # BELLE's dialogues have alpaca's columns; the loop for alpaca looks at the text itself
    return any(
        shape.possible(known)
        and shape.score >= own
        and not (name == "belle" and plan.format == "alpaca")
        for name, other in all_formats().items()
        if name != plan.format
        for shape in other.shapes
    )


def _columns(plan: Plan, names: Iterable[str]) -> tuple[dict[str, str], list[str]] | None:
    """Our column -> its name in the file, and the other columns.

    A second name of a column is left out, so that rows which have it go to the general path.
    """
    format = all_formats()[plan.format]
    in_file = {plan.renames.get(name, name): name for name in names}
    assigned = format.assigned([*in_file], frozenset(plan.renames.values()))
    found = {ours: in_file[known] for ours, known in assigned.items()}
    known_names = {name for aliases in format.columns.values() for name in aliases}
    extra = [name for known, name in in_file.items() if known not in known_names]
    if len(extra) > MAX_EXTRA_COLUMNS or any(column in found for column in MEDIA_COLUMNS):
        return None
    return found, extra


def _path(
    fields: Mapping[str, tuple[str, Any]],
    extra: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    make: Make,
    counts: FastCounts,
    of_turn: Mapping[str, str] | None = None,
) -> FastPath:
    """A decoder for exactly these columns (attribute -> name in the file, type).

    A column that all rows of the sample have is required, so that its keys need not be counted
    row by row; a row without it goes to the general path.
    """
    columns = {**fields, **{f"x{number}": (name, Raw) for number, name in enumerate(extra)}}
    required: list[Any] = []
    optional: list[Any] = []
    keys = []
    for attribute, (name, kind) in columns.items():
        if attribute in _NEEDED or all(name in row for row in rows):
            required.append((attribute, kind))
            keys.append(Key(msgspec.json.encode(name), None))
        else:
            optional.append((attribute, kind | UnsetType, UNSET))
            keys.append(Key(msgspec.json.encode(name), _presence(attribute)))
    struct = msgspec.defstruct(
        "FastRow",
        required + optional,
        rename={attribute: name for attribute, (name, _) in columns.items()},
        forbid_unknown_fields=True,
        gc=False,
    )
    if extra:
        make = _with_plain_extras(make, len(extra))
    if of_turn:
        keys += [Key(msgspec.json.encode(name), lambda row: len(row.m)) for name in of_turn]
    names = {name: attribute for attribute, (name, _) in columns.items()}
    layouts = () if optional else _layouts(names, rows, of_turn)
    decoder = msgspec.json.Decoder(struct)
    return FastPath(decoder, make, layouts, tuple(keys), counts, tuple(extra))


def _layouts(
    names: Mapping[str, str], rows: Sequence[Mapping[str, Any]], of_turn: Mapping[str, str] | None
) -> tuple[Layout, ...]:
    """The layouts that the file may have, with its columns in the order of the sample."""
    row = next((row for row in rows if row.keys() == names.keys()), None)
    if row is None:
        return ()
    columns = {name: names[name] for name in row}
    return tuple(dialogue_layouts(columns, "m", of_turn) if of_turn else layouts_of(columns))


def _presence(attribute: str) -> Callable[[Any], int]:
    def count(row: Any) -> int:
        return getattr(row, attribute) is not UNSET

    return count


def _with_plain_extras(make: Make, number: int) -> Make:
    """Only rows whose other columns are single values, which are surely read without a remark."""
    attributes = [f"x{i}" for i in range(number)]

    def checked(row: Any, spell: Spell) -> bytes | None:
        for attribute in attributes:
            raw = getattr(row, attribute)
            if raw is not UNSET and not _SCALAR.match(raw):
                return None
        return make(row, spell)

    return checked


def _pairs(plan: Plan, names: list[str], rows: list[dict[str, Any]]) -> FastPath | None:
    """Alpaca and prompt/completion: a prompt in one or two columns, and an answer."""
    columns = _columns(plan, names)
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
    return _path(fields, extra, rows, make, counts)


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
        if has_input and row.p not in _NOTHING:
            more = spell(row.p)
            if not (more[0] == QUOTE and more[1] in VISIBLE) and not is_visible(more):
                return None
            asked = asked[:-1] + b"\\n" + more[1:]
        end = _NO_SYSTEM
        if has_more:
            system = _system_of(row, spell)
            if system is None:
                return None
            end = _SYSTEM + system + _END
        if _LESS in asked and _has_placeholder(asked):
            return None
        if _LESS in answer:
            if _has_placeholder(answer):
                return None
            counts.with_reasoning += b"<think>" in answer
        return b"".join((_USER, asked, _ASSISTANT, answer, end))

    return make


def _system_of(row: Any, spell: Spell) -> bytes | None:
    """The system text of a row; None if it is none, or if the row has a history or tools."""
    if any(getattr(row, name, UNSET) not in (*_NOTHING, NO_LIST) for name in ("h", "t")):
        return None
    system = getattr(row, "s", UNSET)
    if system in _NOTHING:
        return b'""'
    written = spell(system)
    return written if is_visible(written) else None


def _has_placeholder(text: bytes) -> bool:
    return any(mark in text for mark in _PLACEHOLDERS)


def _texts(plan: Plan, names: list[str], rows: list[dict[str, Any]]) -> FastPath | None:
    """Text for continued pretraining."""
    columns = _columns(plan, names)
    if columns is None or "text" not in columns[0] or len(columns[0]) > 1:
        return None
    found, extra = columns

    def make(row: Any, spell: Spell) -> bytes | None:
        text = spell(row.q)
        if not is_visible(text):
            return None
        return b"".join((_TEXT, text, _TEXT_END))

    return _path({"q": (found["text"], Raw)}, extra, rows, make, FastCounts())


def _dialogues(plan: Plan, names: list[str], rows: list[dict[str, Any]]) -> FastPath | None:
    """ShareGPT and OpenAI messages: text turns of user and assistant, after a system turn."""
    columns = _columns(plan, names)
    if columns is None:
        return None
    found, extra = columns
    list_column = next((name for name in ("messages", "conversations") if name in found), "")
    if not list_column or found.keys() - {list_column, "system", "tools"}:
        return None
    turn = _turn_names(rows, found[list_column])
    if turn is None:
        return None
    role_key, keys, user, assistant = turn
    if [role_names().get(user), role_names().get(assistant)] != ["user", "assistant"]:
        return None
    of_turn = {key: "role" if key == role_key else "text" for key in keys}
    turn_struct = msgspec.defstruct(
        "FastTurn",
        [("role", Raw), ("text", Raw)],
        rename={attribute: key for key, attribute in of_turn.items()},
        forbid_unknown_fields=True,
        gc=False,
    )
    listed = list[turn_struct]  # type: ignore[valid-type]  # the type is made from the sample
    fields: dict[str, tuple[str, Any]] = {"m": (found[list_column], listed)}
    for attribute, ours in (("s", "system"), ("t", "tools")):
        if ours in found:
            fields[attribute] = (found[ours], Raw)
    counts = FastCounts()
    make = _dialogue_maker(user, assistant, counts, has_more=len(fields) > 1)
    path = _path(fields, extra, rows, make, counts, of_turn)
    native = native_roles()[role_key]
    roles = ((user, "user"), (assistant, "assistant"))
    path.renamed = tuple((name, role) for name, role in roles if name not in native)
    return path


def _dialogue_maker(user: str, assistant: str, counts: FastCounts, *, has_more: bool) -> Make:
    encode = msgspec.json.encode
    system_role, user_role, assistant_role = (
        Raw(encode(role)) for role in ("system", user, assistant)
    )

    def make(row: Any, spell: Spell) -> bytes | None:
        turns = row.m
        system = _system_of(row, spell) if has_more else b'""'
        at = 0
        if turns and turns[0].role == system_role:
            text = spell(turns[0].text)
            if system != b'""' or not is_visible(text):
                return None
            system, at = text, 1
        if system is None or (len(turns) - at) % 2 or len(turns) == at:
            return None
        parts = [_USER]
        asks, reasons = True, False
        for turn in turns[at:] if at else turns:
            text = spell(turn.text)
            if turn.role != (user_role if asks else assistant_role):
                return None
            if not (text[0] == QUOTE and text[1] in VISIBLE) and not is_visible(text):
                return None
            if _LESS in text:
                if _has_placeholder(text):
                    return None
                reasons = reasons or (not asks and b"<think>" in text)
            parts += (text, _ASSISTANT if asks else _NEXT_USER)
            asks = not asks
        counts.with_reasoning += reasons
        counts.pairs_of_turns += len(parts) // 4
        parts[-1] = _SYSTEM
        parts += (system, _END)
        return b"".join(parts)

    return make


def _turn_names(
    rows: list[dict[str, Any]], column: str
) -> tuple[str, tuple[str, ...], str, str] | None:
    """The first plain dialogue of the sample: the key of a role, all keys of a turn as they are
    ordered, the user's name and the assistant's."""
    for row in rows:
        listed = row.get(column)
        turns = [t for t in listed if isinstance(t, dict)] if isinstance(listed, list) else []
        for role_key, content_key in (("role", "content"), ("from", "value")):
            if all(t.keys() == {role_key, content_key} for t in turns):
                roles = [t[role_key] for t in turns if t[role_key] != "system"]
                if len(roles) > 1 and all(isinstance(role, str) for role in roles[:2]):
                    return role_key, tuple(turns[0]), roles[0], roles[1]
    return None


_BUILDERS: Mapping[str, Callable[[Plan, list[str], list[dict[str, Any]]], FastPath | None]] = {
    "instruction": _pairs,
    "prompt_completion": _pairs,
    "belle": _pairs,
    "text": _texts,
    "messages": _dialogues,
}
