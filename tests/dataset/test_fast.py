"""The fast path and the general path give the same rows and the same problems."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fine_tuning.dataset.convert.fast import fast_path
from fine_tuning.dataset.convert.plan import Plan
from fine_tuning.dataset.passes import PartJob, run_part
from fine_tuning.dataset.read import HubChoice, find_sources
from fine_tuning.dataset.sink import DROPPED, HASHES, LINES, PROBLEMS, REJECTED, ROWS

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


def outcome(source: Path, plan: Plan, folder: Path, *, fast: bool) -> dict[str, Any]:
    [found] = find_sources([str(source)], hub=HubChoice())
    result = run_part(PartJob(found, plan, folder, allow_fast=fast))
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
            plan = Plan(name, media_root=folder, recognised=recognised)
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
    assert path.make(path.decode(json.dumps(row).encode())) is not None
