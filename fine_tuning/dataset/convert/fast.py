"""The fast path for clean JSON Lines: typed decoding, one tight loop, canonical bytes.

It takes only rows that the general path (`plan.Converter`) would keep without a remark, and makes
the same bytes; any other row, or block, goes to the general path, which knows what is wrong.
`tests/dataset/test_fast.py` holds the two together.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from fine_tuning.dataset.convert.canonical import ChatRow, TextRow, Turn, encode_row
from fine_tuning.dataset.convert.media import has_placeholder
from fine_tuning.dataset.convert.plan import Plan
from fine_tuning.dataset.convert.values import BLANKS, is_blank
from fine_tuning.dataset.formats import MEDIA_COLUMNS, all_formats, native_roles, role_names
from fine_tuning.dataset.recognise import formats_of, renamed

SAMPLE_ROWS = 200
MAX_EXTRA_COLUMNS = 24  # each costs a scan of the block

Make = Callable[[Any], "bytes | None"]


@dataclass
class FastPath:
    """`decode` gives a typed row or raises; `make` gives its canonical bytes, or None for a row
    that the general path must look at. `keys` are the names to count, to find repeated keys."""

    decode: Callable[[bytes], Any]
    make: Make
    keys: tuple["Key", ...]
    counts: "FastCounts"
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
    if plan.format not in all_formats():
        return None
    if plan.recognised:
        names = (plan.format, *all_formats()[plan.format].includes)
        own = [(name,) for name in names]
        rows = [row for row in rows if formats_of(renamed(row, plan.renames)) in own]
    build = _BUILDERS.get(all_formats()[plan.format].converter)
    columns = [name for name, _ in Counter(key for row in rows for key in row).most_common()]
    if build is None or not columns or (plan.recognised and _may_be_other(plan, columns)):
        return None
    return build(plan, columns, rows)


def _may_be_other(plan: Plan, names: Sequence[str]) -> bool:
    """Whether some row with these columns may fit another format as well as the file's."""
    known = {plan.renames.get(name, name) for name in names}
    own = max((s.score for s in all_formats()[plan.format].shapes if s.possible(known)), default=0)
    return any(
        shape.possible(known) and shape.score >= own and not _seen_by_maker(plan, name)
        for name, other in all_formats().items()
        if name != plan.format
        for shape in other.shapes
    )


def _seen_by_maker(plan: Plan, other: str) -> bool:
    """BELLE's dialogues have alpaca's columns; the loop for alpaca looks at the text itself."""
    return other == "belle" and plan.format == "alpaca"


def _columns(plan: Plan, names: Iterable[str]) -> tuple[dict[str, str], list[str]] | None:
    """Our column -> its name in the file, and the other columns.

    `names` come by frequency: a rarer second name of a column is left out, so that rows which
    have it go to the general path.
    """
    columns = all_formats()[plan.format].columns
    ours_of = {alias: ours for ours, aliases in columns.items() for alias in aliases[1:]}
    found: dict[str, str] = {}
    extra: list[str] = []
    for name in names:
        known = plan.renames.get(name, name)
        ours = known if known in columns else ours_of.get(known)
        if ours is None:
            extra.append(name)
        else:
            found.setdefault(ours, name)
    if len(extra) > MAX_EXTRA_COLUMNS or any(column in found for column in MEDIA_COLUMNS):
        return None
    return found, extra


def _path(
    fields: Mapping[str, tuple[str, Any]],
    extra: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    make: Make,
    counts: FastCounts,
    more_keys: Sequence[Key] = (),
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
        if all(name in row for row in rows) or _is_required(kind):
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
    return FastPath(msgspec.json.Decoder(struct).decode, make, (*keys, *more_keys), counts)


def _is_required(kind: Any) -> bool:
    return kind is str or getattr(kind, "__origin__", None) is list


def _presence(attribute: str) -> Callable[[Any], int]:
    def count(row: Any) -> int:
        return getattr(row, attribute) is not UNSET

    return count


def _with_plain_extras(make: Make, number: int) -> Make:
    """Only rows whose other columns are single values: a nested one may repeat a key or be deep."""
    attributes = [f"x{i}" for i in range(number)]

    def checked(row: Any) -> bytes | None:
        for attribute in attributes:
            raw = getattr(row, attribute)
            if raw is not UNSET and memoryview(raw)[0] in b"{[":
                return None
        return make(row)

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
    fields: dict[str, tuple[str, Any]] = {"q": (found[ask], str), "a": (found[answer], str)}
    for attribute, ours, kind in (
        ("p", "input", str | None),
        ("s", "system", str | None),
        ("h", "history", list[Any] | str | None),
        ("t", "tools", list[Any] | str | None),
    ):
        if ours in found:
            fields[attribute] = (found[ours], kind)
    counts = FastCounts()
    make = _pair_maker(fields, counts, belle=belle, listed=listed)
    return _path(fields, extra, rows, make, counts)


def _pair_maker(
    fields: Mapping[str, Any], counts: FastCounts, *, belle: bool, listed: bool
) -> Make:
    has_input, has_more = "p" in fields, bool(fields.keys() & {"s", "h", "t"})
    # A prompt or completion may be a list as JSON text, an instruction a dialogue.
    odd_start = "[" if listed else "Human" if belle else "\0"
    odd_first = frozenset({odd_start[0], *BLANKS})  # one look-up clears nearly every row

    def is_odd(text: str) -> bool:
        return is_blank(text) or text.lstrip().startswith(odd_start)

    def make(row: Any) -> bytes | None:
        asked, answer = row.q, row.a
        if not asked or not answer or (asked[0] in odd_first and is_odd(asked)):
            return None
        if answer[0] in odd_first and (is_odd(answer) if listed else is_blank(answer)):
            return None
        if has_input and row.p:
            if row.p[0] in BLANKS and is_blank(row.p):
                return None
            asked = asked + "\n" + row.p
        system = ""
        if has_more:
            if getattr(row, "h", None) or getattr(row, "t", None):
                return None
            system = getattr(row, "s", "") or ""
            if system and system[0] in BLANKS and is_blank(system):
                return None
        if "<" in asked and has_placeholder(asked):
            return None
        if "<" in answer:
            if has_placeholder(answer):
                return None
            counts.with_reasoning += "<think>" in answer
        return encode_row(ChatRow([Turn("user", asked), Turn("assistant", answer)], system))

    return make


def _texts(plan: Plan, names: list[str], rows: list[dict[str, Any]]) -> FastPath | None:
    """Text for continued pretraining."""
    columns = _columns(plan, names)
    if columns is None or "text" not in columns[0] or len(columns[0]) > 1:
        return None
    found, extra = columns
    fields: dict[str, tuple[str, Any]] = {"q": (found["text"], str)}
    nothing = Turn("assistant", "")

    def make(row: Any) -> bytes | None:
        text = row.q
        if not text or (text[0] in BLANKS and is_blank(text)):
            return None
        return encode_row(TextRow([Turn("user", text), nothing]))

    return _path(fields, extra, rows, make, FastCounts())


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
    role_key, content_key, user, assistant = turn
    if [role_names().get(user), role_names().get(assistant)] != ["user", "assistant"]:
        return None
    turn_struct = msgspec.defstruct(
        "FastTurn",
        [("r", str), ("c", str)],
        rename={"r": role_key, "c": content_key},
        forbid_unknown_fields=True,
        gc=False,
    )
    listed = list[turn_struct]  # type: ignore[valid-type]  # the type is made from the sample
    fields: dict[str, tuple[str, Any]] = {"m": (found[list_column], listed)}
    if "system" in found:
        fields["s"] = (found["system"], str | None)
    if "tools" in found:
        fields["t"] = (found["tools"], list[Any] | str | None)
    counts = FastCounts()
    make = _dialogue_maker(user, assistant, "s" in fields, "t" in fields, counts)
    turn_keys = [
        Key(msgspec.json.encode(key), lambda row: len(row.m)) for key in (role_key, content_key)
    ]
    path = _path(fields, extra, rows, make, counts, turn_keys)
    native = native_roles()[role_key]
    roles = ((user, "user"), (assistant, "assistant"))
    path.renamed = tuple((name, role) for name, role in roles if name not in native)
    return path


def _dialogue_maker(
    user: str, assistant: str, has_system: bool, has_tools: bool, counts: FastCounts
) -> Make:
    def make(row: Any) -> bytes | None:
        turns = row.m
        system = (row.s or "") if has_system else ""
        if (has_tools and row.t) or (system and system[0] in BLANKS and is_blank(system)):
            return None
        at = 0
        if turns and turns[0].r == "system":
            text = turns[0].c
            if system or not text or (text[0] in BLANKS and is_blank(text)):
                return None
            system, at = text, 1
        if (len(turns) - at) % 2 or len(turns) == at:
            return None
        made = []
        asks, reasons = True, False
        for turn in turns[at:] if at else turns:
            text = turn.c
            if not text or turn.r != (user if asks else assistant):
                return None
            if text[0] in BLANKS and is_blank(text):
                return None
            if "<" in text:
                if has_placeholder(text):
                    return None
                reasons = reasons or (not asks and "<think>" in text)
            made.append(Turn("user" if asks else "assistant", text))
            asks = not asks
        counts.with_reasoning += reasons
        counts.pairs_of_turns += len(made) // 2
        return encode_row(ChatRow(made, system))

    return make


def _turn_names(rows: list[dict[str, Any]], column: str) -> tuple[str, str, str, str] | None:
    """The keys and the user's and assistant's names of the first plain dialogue of the sample."""
    for row in rows:
        listed = row.get(column)
        turns = [t for t in listed if isinstance(t, dict)] if isinstance(listed, list) else []
        for role_key, content_key in (("role", "content"), ("from", "value")):
            if all(t.keys() == {role_key, content_key} for t in turns):
                roles = [t[role_key] for t in turns if t[role_key] != "system"]
                if len(roles) > 1 and all(isinstance(role, str) for role in roles[:2]):
                    return role_key, content_key, roles[0], roles[1]
    return None


_BUILDERS: Mapping[str, Callable[[Plan, list[str], list[dict[str, Any]]], FastPath | None]] = {
    "instruction": _pairs,
    "prompt_completion": _pairs,
    "belle": _pairs,
    "text": _texts,
    "messages": _dialogues,
}
