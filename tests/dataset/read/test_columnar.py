"""What the types of a columnar file do to values, and how these are read all the same."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .conftest import Outcome, Read


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def read_table(read: Read, columns: dict[str, Any]) -> Outcome:
    return read("a.parquet", parquet(pa.table(columns)))


def test_a_32_bit_number_has_the_digits_it_was_written_with(read: Read) -> None:
    numbers = pa.array([0.1, None, 16777216.0, 1e-7], pa.float32())
    outcome = read_table(read, {"output": numbers})
    assert [row["output"] for row in outcome.values] == [0.1, None, 16777216.0, 1e-7]
    half = read_table(read, {"a": pa.array([{"b": 0.1}], pa.struct([("b", pa.float16())]))})
    assert half.values == [{"a": {"b": 0.1}}]


def test_two_columns_of_one_name_are_named(read: Read) -> None:
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["a", "a"])
    outcome = read("a.parquet", parquet(table))
    assert (outcome.values, outcome.codes) == ([{"a": "y"}], ["duplicate_key"])
    assert outcome.messages == ['several columns are called "a"; the last of each is used']


def test_the_nulls_of_a_struct_column_are_not_arguments_of_a_call(read: Read) -> None:
    calls = [
        {"name": "add", "arguments": {"a": 1, "b": 2}},
        {"name": "weather", "arguments": {"city": "Bonn"}},
    ]
    rows = [[{"role": "assistant", "content": None, "tool_calls": [call]}] for call in calls]
    outcome = read_table(read, {"messages": rows})
    assert [row["messages"][0]["tool_calls"] for row in outcome.values] == [[c] for c in calls]
    assert outcome.problems == [(None, "struct_nulls", "warning")]
    assert outcome.messages[0].startswith("3 nulls in the arguments or descriptions of tools")


def test_nulls_of_turns_are_left_out_without_a_word(read: Read) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "tool", "content": "3", "name": "f"}]
    outcome = read_table(read, {"messages": [turns]})
    assert outcome.values == [{"messages": turns}]
    assert outcome.problems == []


def test_nulls_in_lists_and_maps_stay(read: Read) -> None:
    kind = pa.map_(pa.string(), pa.float32())
    outcome = read_table(read, {"a": [["x", None]], "m": pa.array([{"k": None, "l": 0.1}], kind)})
    assert outcome.values == [{"a": ["x", None], "m": {"k": None, "l": 0.1}}]


@pytest.mark.parametrize(
    "odd",
    [
        pa.array([253402300800000], pa.timestamp("ms")),
        pa.array([-719163], pa.date32()),
        pa.array([2**62], pa.duration("ms")),
        pa.array([0], pa.timestamp("us", "Mars/Phobos")),
        pa.array([[([1], 2)]], pa.map_(pa.list_(pa.int64()), pa.int64())),
        pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers()),
    ],
    ids=lambda odd: str(odd.type),
)
def test_a_value_that_python_cannot_hold_costs_no_row(read: Read, odd: pa.Array) -> None:
    """One in a column that nobody reads ended the check of a whole directory."""
    outcome = read_table(read, {"instruction": ["q"], "odd": odd})
    assert [row["instruction"] for row in outcome.values] == ["q"]
    assert outcome.values[0]["odd"] is not None
