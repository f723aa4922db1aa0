"""The fast path and the general path give the same rows and the same problems."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fine_tuning.dataset.account.sink import DROPPED, HASHES, LINES, PROBLEMS, REJECTED, ROWS
from fine_tuning.dataset.convert.fast_path import lines as lines_module
from fine_tuning.dataset.convert.fast_path.lines import canonical_lines
from fine_tuning.dataset.convert.fast_path.rows import fast_path
from fine_tuning.dataset.convert.plan import Converter, Media, Plan
from fine_tuning.dataset.passes import PartJob, run_parts
from fine_tuning.dataset.sources import HubChoice, find_sources

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = (
    *("hello", "", " ", "a<b", "<think>x</think>", "<image> see", 'say "output"', "你好", "\n"),
    "Human: hi\nAssistant:",
    "[1]",
    "instruction",
    "😀",
    "\u3000x",
    "null",
    "\u200b",
    "\ufeff\n",
    "\u200bx",
)
text = st.sampled_from(WORDS) | st.text(max_size=8)
odd = text | st.none() | st.integers(-3, 3) | st.booleans() | st.lists(text, max_size=2)
alpaca = st.fixed_dictionaries(
    {"instruction": text, "output": text},
    optional={"input": odd, "system": odd, "history": odd, "meta": odd, "text": text},
)
turn_openai = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "bot", "tool"]), "content": text},
    optional={"weight": st.integers(0, 1)},
)
turn_sharegpt = st.fixed_dictionaries(
    {"from": st.sampled_from(["human", "gpt", "system", "user", "observation"]), "value": text}
)


def dialogue(user: str, assistant: str, role: str, content: str) -> st.SearchStrategy[Any]:
    pair = st.tuples(text, text).map(
        lambda two: [{role: user, content: two[0]}, {role: assistant, content: two[1]}]
    )
    return st.lists(pair, max_size=3).map(lambda pairs: [turn for two in pairs for turn in two])


openai = st.fixed_dictionaries(
    {"messages": dialogue("user", "assistant", "role", "content") | st.lists(turn_openai)},
    optional={"tools": odd, "system": odd, "id": odd},
)
sharegpt = st.fixed_dictionaries(
    {"conversations": dialogue("user", "bot", "from", "value") | st.lists(turn_sharegpt)},
    optional={"tools": odd, "system": odd},
)
pairs = st.fixed_dictionaries({"prompt": odd, "completion": odd}, optional={"label": odd})
texts = st.fixed_dictionaries({"text": odd}, optional={"url": text})
# Texts as bytes of the file, between their quotes: what JSON allows, and what it does not.
SPELLINGS = (
    *(b"hello", b"", b" ", b"\\n", b"\\t\\b\\f\\r", b'\\"', b"\\\\", b"\\\\u0041", b"/", b"\\/"),
    *(b"\\u4f60\\u597D", b"\\u0041", b"\\u000a", b"\\u001F", b"\\u0022", b"\\u005c", b"\\u3000"),
    *(b"\\ud83d\\ude00", b"\\ud83d", b"\\ude00", b"\\ud83dx", b"\\u12", b"\\x", b"\\u00zz"),
    *("你好你好".encode(), "é".encode(), "\u3000".encode(), "\u200b".encode(), "😀".encode()),
    *(b"\x7f", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\x01", b"\t", b"\0"),
    *(b"<think>", b"\\u003cthink>x", b"<image>", b"\\u003Cimage\\u003E", b"a<b"),
    *(b"Human:", b"\\u0048uman:", b"\\nHuman:", b"[1", b"\\u005b1]", b'\\"output\\": ', b"}, {"),
)
OTHER_VALUES = (
    *(b"null", b"5", b"-0", b"1.10", b"1e5", b"1e999", b"9" * 5000, b"true", b"nul", b"NaN"),
    *(b"[]", b"[ ]", b'["x"]', b"[\n1]", b"{}", b'{"a":1,"a":2}', b"{\n}", b"[" * 200 + b"]" * 200),
    *(b'"a', b"\xff", b'"instruction"', b'"content"'),
)
spelt = st.lists(st.sampled_from(SPELLINGS), max_size=3).map(
    lambda parts: b'"%b"' % b"".join(parts)
)
plain = st.sampled_from((b'"hello"', '"你好你好你好"'.encode(), b'"say \\"x\\""', b'"a\\u00e9/"'))
COLUMNS = {
    "alpaca": ("instruction", "input", "output", "id"),
    "belle": ("output", "instruction"),
    "openai": ("id", "tools", "messages"),
    "sharegpt": ("system", "conversations"),
    "prompt_completion": ("prompt", "completion", "n"),
    "text": ("text", "url"),
}
TURNS = {"messages": ("role", "content"), "conversations": ("from", "value")}
ROLES = {
    "messages": (b'"user"', b'"assistant"', b'"system"'),
    "conversations": (b'"human"', b'"gpt"', b'"system"'),
}

FORMATS = {
    "alpaca": alpaca,
    "belle": alpaca,
    "openai": openai,
    "sharegpt": sharegpt,
    "prompt_completion": pairs,
    "text": texts,
}


def layout(row: Any, style: int) -> str:
    """A row as JSON, now and then written oddly: a key twice, spaces, ASCII, broken."""
    written = json.dumps(row, ensure_ascii=style % 2 == 0)
    if style == 3 and isinstance(row, dict) and row:
        key = next(iter(row))
        return written[:-1] + f', "{key}" : "again"}}'
    if style == 5:
        return json.dumps(row, separators=(" , ", " : "))
    if style == 7:
        return written[:-2]
    if style == 9:
        return written + "\n"
    return written


@dataclass(frozen=True)
class Writer:
    """How one program writes rows: its separators, and whether a role comes before its text."""

    item: bytes
    key: bytes
    role_first: bool

    def members(self, pairs: Iterable[tuple[str, bytes]]) -> bytes:
        return b"{%b}" % self.item.join(b'"%b"%b%b' % (n.encode(), self.key, v) for n, v in pairs)

    def row(self, name: str, value: Callable[[str], bytes], roles: Sequence[int] = (0, 1)) -> bytes:
        def written(column: str) -> bytes:
            if column not in TURNS:
                return value(column)
            keys = TURNS[column]
            turns = [(ROLES[column][role], value("text")) for role in roles]
            pairs = [[*zip(keys, turn, strict=True)] for turn in turns]
            return b"[%b]" % self.item.join(
                self.members(pair if self.role_first else pair[::-1]) for pair in pairs
            )

        return self.members((column, written(column)) for column in COLUMNS[name])


writers = st.builds(
    lambda separators, role_first: Writer(separators[0], separators[1], role_first),
    st.sampled_from(((b", ", b": "), (b",", b":"), (b" , ", b" : "))),
    st.booleans(),
)


def clean_value(column: str) -> bytes:
    """A text that leaves no doubt that the file is in UTF-8; nothing where text is not wanted."""
    return b'""' if column in ("tools", "input") else '"你好你好你好"'.encode()


@st.composite
def spelt_row(draw: st.DrawFn, name: str, writer: Writer) -> bytes:
    """A row of which each text is spelt in one of many ways; now and then it is damaged."""

    def drawn(column: str) -> bytes:
        usual = st.sampled_from((b'""', b"[]", b"null")) if column == "tools" else plain
        return draw(st.one_of(usual, usual, usual, spelt, st.sampled_from(OTHER_VALUES)))

    roles = draw(st.sampled_from(((0, 1), (0, 1), (2, 0, 1), (0, 1, 0, 1), (0,), (1, 0), ())))
    row = writer.row(name, drawn, roles)
    return row if draw(st.integers(0, 5)) else draw(st.sampled_from(damaged(row, draw, name)))


def damaged(row: bytes, draw: st.DrawFn, name: str) -> list[bytes]:
    """The row with a key twice, or spelt with an escape, cut, doubled, or laid out otherwise."""
    columns = COLUMNS[name]
    column = draw(st.sampled_from([*columns, *TURNS.get(columns[-1], ())])).encode()
    quoted, escaped = b'"%b"' % column, b'"\\u00%02x%b"' % (column[0], column[1:])
    twice = [row.replace(quoted, b'%b: "again", %b' % (k, quoted), 1) for k in (quoted, escaped)]
    others = [row.replace(quoted, escaped, 1), row.replace(quoted, quoted + b" ", 1)]
    return [*twice, *others, row + b" ", row * 2, b"", row[:-1], row.replace(b"{", b"{\n", 1)]


def outcome(source: Path, plan: Plan, folder: Path, *, fast: bool) -> dict[str, Any]:
    [found] = find_sources([str(source)], hub=HubChoice())
    [result] = run_parts([PartJob(found, plan, allow_fast=fast)], folder)
    files = {
        n: (folder / n).read_bytes() for n in (ROWS, LINES, HASHES, REJECTED, PROBLEMS, DROPPED)
    }
    votes = sorted((tuple(names), count) for names, count in result.votes)
    counts = (result.rows_read, result.rows_kept, result.counts, result.with_reasoning)
    return {**files, "counts": counts, "votes": votes, "renamed": result.renamed}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("recognised", [True, False])
def test_both_paths_agree(name: str, recognised: bool) -> None:
    row = FORMATS[name] | st.just({"instruction": "a", "output": "b"}) | st.just([1])
    clean_first = st.lists(FORMATS[name], max_size=12)

    @SLOW
    @given(clean_first, st.lists(st.tuples(row, st.integers(0, 60)), min_size=1, max_size=12))
    def agree(clean: list[Any], rows: list[tuple[Any, int]]) -> None:
        lines = [json.dumps(row) for row in clean] + [layout(*row) for row in rows]
        with TemporaryDirectory() as name_of_folder:
            folder = Path(name_of_folder)
            source = folder / "data.jsonl"
            source.write_text("\n".join(lines) + "\n", encoding="utf-8")
            plan = Plan(name, media=Media(folder), recognised=recognised)
            quick = outcome(source, plan, folder / "fast", fast=True)
            assert quick == outcome(source, plan, folder / "general", fast=False)

    agree()


@pytest.mark.parametrize("piece", [200, 1 << 16])
@pytest.mark.parametrize("name", COLUMNS)
def test_both_paths_agree_on_every_spelling(
    name: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "PIECE", piece)

    @SLOW
    @given(st.data(), writers, st.booleans())
    def agree(data: st.DataObject, writer: Writer, ends: bool) -> None:
        clean = [writer.row(name, clean_value)] * 3
        rows = data.draw(st.lists(spelt_row(name, writer), min_size=1, max_size=9))
        with TemporaryDirectory() as name_of_folder:
            folder = Path(name_of_folder)
            source = folder / "data.jsonl"
            source.write_bytes(b"\n".join([*clean, *rows]) + b"\n" * ends)
            plan = Plan(name, media=Media(folder), recognised=name != "belle")
            quick = outcome(source, plan, folder / "fast", fast=True)
            assert quick == outcome(source, plan, folder / "general", fast=False)

    agree()


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("alpaca", {"instruction": "q", "input": "", "output": "a"}),
        ("alpaca", {"question": "q", "answer": "a", "id": 7}),
        (
            "openai",
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        ),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        ),
        ("prompt_completion", {"prompt": "q", "completion": "a"}),
        ("text", {"text": "q"}),
    ],
)
def test_clean_rows_take_the_fast_path(name: str, row: dict[str, Any]) -> None:
    path = fast_path(Plan(name), [row])
    assert path is not None
    line = json.dumps(row).encode() + b"\n"
    assert canonical_lines(line, path) == [Converter(Plan(name)).convert(row).data]


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("separators", [(b", ", b": "), (b",", b":")])
@pytest.mark.parametrize("role_first", [True, False])
def test_rows_of_one_layout_are_decoded_together(
    name: str, separators: tuple[bytes, bytes], role_first: bool
) -> None:
    row = Writer(*separators, role_first).row(name, clean_value)
    path = fast_path(Plan(name), [json.loads(row)])
    assert path is not None
    assert len(lines_module._even_rows((row + b"\n") * 3, path) or ()) == 3
    assert lines_module._even_rows(row + b"\n" + row + b" \n", path) is None
