"""Overlong rows: what becomes of them, and that every one of them is accounted for."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fine_tuning.dataset.insight.rows import ORIGIN, Origins
from fine_tuning.dataset.prepare.fit import fit_problems, fit_rows, keep_leading_rounds, round_ends
from fine_tuning.errors import DataError

LENGTHS = {0: [10, 90, 120], 3: [150, 300], 7: [100, 101]}


def origins(rows: int = 10) -> Origins:
    table = np.zeros(rows, ORIGIN)
    table["line"] = np.arange(1, rows + 1)
    return Origins(["data.jsonl"], table)


def test_a_chat_keeps_the_whole_rounds_that_fit_and_goes_if_the_first_does_not() -> None:
    fit = fit_rows("chat", LENGTHS, cutoff=100, policy="auto", origins=origins())
    assert fit.keep_rounds == {0: 2, 7: 1}
    assert fit.dropped == {3}
    assert fit.counts == {"cut_turns": 2, "overlong": 1, "cut_by_engine": 0}


def test_a_row_of_exactly_the_cutoff_fits() -> None:
    fit = fit_rows("chat", {0: [50, 100]}, cutoff=100, policy="auto", origins=origins())
    assert not fit.keep_rounds
    assert not fit.dropped


@pytest.mark.parametrize("kind", ["preference", "kto"])
def test_half_of_a_comparison_is_dropped(kind: str) -> None:
    fit = fit_rows(kind, LENGTHS, cutoff=100, policy="auto", origins=origins())  # type: ignore[arg-type]
    assert fit.dropped == {0, 3, 7}


def test_a_text_that_the_engine_cuts_is_named() -> None:
    fit = fit_rows("text", LENGTHS, cutoff=100, policy="auto", origins=origins())
    assert fit.counts == {"cut_turns": 0, "overlong": 0, "cut_by_engine": 3}


def test_a_row_with_pictures_is_not_cut_apart_from_them() -> None:
    with_media = frozenset({0})
    auto, engine = (
        fit_rows(
            "chat", LENGTHS, cutoff=100, policy=policy, origins=origins(), with_media=with_media
        )
        for policy in ("auto", "truncate")
    )
    assert auto.dropped == {0, 3}
    assert auto.keep_rounds.keys() == {7}
    assert engine.dropped == {0}
    assert engine.truncated == {3, 7}
    first = next(fit_problems(auto, origins()))
    assert first.message.endswith("the row is dropped, because its media cannot be cut")


def test_error_names_the_first_rows_the_lengths_and_the_way_on() -> None:
    lengths = {row: [200 + row] for row in range(7)}
    with pytest.raises(DataError) as caught:
        fit_rows("chat", lengths, cutoff=100, policy="error", origins=origins())
    message = str(caught.value)
    assert "7 rows are longer than 100 tokens: data.jsonl:1 (200 tokens)" in message
    assert "and 2 more" in message
    assert "--max_seq_length (the longest row needs 206)" in message


def test_every_overlong_row_is_named_with_its_outcome() -> None:
    fit = fit_rows("chat", LENGTHS, cutoff=100, policy="auto", origins=origins())
    problems = list(fit_problems(fit, origins()))
    assert [(p.line, p.code) for p in problems] == [
        (1, "cut_turns"),
        (4, "overlong"),
        (8, "cut_turns"),
    ]
    assert problems[0].message.endswith("the first 2 of 3 rounds are kept")
    assert problems[1].message.endswith("not even the first round fits, the row is dropped")


def test_a_round_holds_its_tool_calls_and_results() -> None:
    roles = ["user", "function_call", "tool", "assistant", "user", "assistant"]
    turns = [{"from": role, "value": role} for role in roles]
    row = {"conversations": turns, "system": "s"}
    assert round_ends(turns) == [4, 6]
    shortened = keep_leading_rounds(row, 1)
    assert [turn["from"] for turn in shortened["conversations"]] == roles[:4]
    assert shortened["system"] == "s"
    assert round_ends([*turns, {"from": "user"}, {"from": "function_call"}]) == [4, 6, 8]


def test_an_answer_that_is_not_trained_ends_no_round() -> None:
    roles = ["user", "assistant", "user", "assistant", "user", "assistant"]
    turns: list[dict[str, Any]] = [{"from": role, "weight": None} for role in roles]
    turns[1]["weight"] = 0
    assert round_ends(turns) == [4, 6]


rounds = st.lists(st.integers(1, 200), min_size=1, max_size=6).map(
    lambda steps: [sum(steps[: end + 1]) for end in range(len(steps))]
)


@given(
    st.dictionaries(st.integers(0, 9), rounds, max_size=10),
    st.sampled_from(["chat", "text", "preference", "kto"]),
    st.sampled_from(["auto", "drop", "truncate"]),
    st.integers(1, 300),
)
def test_the_outcomes_add_up_to_the_overlong_rows(
    lengths: dict[int, list[int]], kind: str, policy: str, cutoff: int
) -> None:
    fit = fit_rows(kind, lengths, cutoff=cutoff, policy=policy, origins=origins())  # type: ignore[arg-type]
    over = {row for row, counts in lengths.items() if counts[-1] > cutoff}
    outcomes = [set(fit.keep_rounds), set(fit.dropped), set(fit.truncated)]
    assert set().union(*outcomes) == over
    assert sum(map(len, outcomes)) == len(over) == sum(fit.counts.values())
    assert len(list(fit_problems(fit, origins()))) == len(over)
    for row, kept in fit.keep_rounds.items():
        assert lengths[row][kept - 1] <= cutoff < lengths[row][kept]
