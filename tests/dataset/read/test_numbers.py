"""Numbers keep their notation where they may be an answer, and cost little where they are many."""

from typing import Any

import pytest

from fine_tuning.dataset.read.json import document
from fine_tuning.dataset.read.json.record import decode_record
from fine_tuning.values.data import WrittenNumber

from .conftest import Read


def written(value: Any) -> str:
    return value.text if isinstance(value, WrittenNumber) else str(value)


@pytest.mark.parametrize("number", ["-0", "-0.0", "1.10", "1e5", "0", "-1"])
def test_a_number_is_read_as_it_is_written(number: str) -> None:
    assert written(decode_record(f'{{"a": {number}}}'.encode()).value["a"]) == number
    assert written(decode_record(f'{{"a": [{number}]}}'.encode()).value["a"][0]) == number


def test_the_numbers_of_an_embedding_are_not_looked_at_one_by_one() -> None:
    vector = "[" + ", ".join(["1.10"] * 2000) + "]"
    value = decode_record(f'{{"output": 1.10, "embedding": {vector}}}'.encode()).value
    assert value["embedding"] == [1.1] * 2000
    assert not any(isinstance(number, WrittenNumber) for number in value["embedding"])
    assert written(value["output"]) == "1.10"


def test_a_broken_record_is_not_decoded_again_for_the_same_end(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[bytes] = []

    def counted(raw: bytes, line: int = 1) -> Any:
        tries.append(raw)
        return decode_record(raw, line)

    monkeypatch.setattr(document, "decode_record", counted)
    rows = [f'{{\n "id": {i},\n "input": ,\n "output": "a"\n}}' for i in range(200)]
    outcome = read("broken.json", ("[\n" + ",\n".join(rows) + "\n]").encode())
    assert outcome.codes == ["json_syntax"] * 200
    assert len(tries) <= 2 * 200 + 2
