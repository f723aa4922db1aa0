"""The split: a partition that is stable, never leaks, and says what it did."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fine_tuning.dataset.insight.near.find import clusters_path
from fine_tuning.dataset.prepare.fit import Fit
from fine_tuning.dataset.prepare.media_table import write_typed
from fine_tuning.dataset.prepare.split import split
from fine_tuning.dataset.recognise.formats import WEIGHT
from fine_tuning.errors import DataError
from fine_tuning.values.data import Problem, SplitData
from tests.dataset.canonical_files import chat, checked_data, read_jsonl

STORY = (
    "The river rose all night and by morning the lower fields were under water, so the farmers "
    "moved their cattle to the hill and waited there for three days until the rain had stopped"
)


def questions(count: int, prefix: str = "question") -> list[dict[str, Any]]:
    return [chat(f"{prefix} {number}", f"answer {number}") for number in range(count)]


def prompts(path: Path | None) -> list[str]:
    return [row["conversations"][0]["value"] for row in read_jsonl(path)] if path else []


def run(folder: Path, rows: list[dict[str, Any]], **options: Any) -> SplitData:
    known = {"validation", "files", "file_of", "kind"}
    given = {name: options.pop(name) for name in known & set(options)}
    checked = checked_data(folder / "checked", rows, **given)
    defaults = {"out_dir": folder / "out", "val_size": 0.1, "seed": 42, "dedup": False}
    return split(checked, **{**defaults, **options})


@pytest.mark.parametrize(
    ("rows", "val_size", "held_out"),
    [(100, 0.1, 10), (100, 7, 7), (100, 0, 0), (100, 0.001, 1), (20, 0.9, 10), (8000, 0.1, 500)],
)
def test_size_of_the_validation_split(
    tmp_path: Path, rows: int, val_size: float, held_out: int
) -> None:
    data = run(tmp_path, questions(rows), val_size=val_size)
    assert (data.train_rows, data.val_rows) == (rows - held_out, held_out)
    assert len(prompts(data.train_path)) == data.train_rows
    assert len(prompts(data.val_path)) == data.val_rows
    assert (data.val_path is None) == (held_out == 0)


def test_more_than_half_is_never_held_out_and_that_is_said(tmp_path: Path) -> None:
    data = run(tmp_path, questions(30), val_size=25)
    assert data.val_rows == 15
    assert data.notes == ("15 rows are held out, not 25: that is half of all rows",)


def test_nine_rows_are_too_few_to_hold_any_out(tmp_path: Path) -> None:
    data = run(tmp_path, questions(9))
    assert (data.train_rows, data.val_rows, data.val_path) == (9, 0, None)
    assert "9 rows are too few" in data.notes[0]


def test_one_prompt_for_all_rows_leaves_nothing_to_hold_out(tmp_path: Path) -> None:
    data = run(tmp_path, [chat("Write a poem.", f"poem {number}") for number in range(40)])
    assert (data.train_rows, data.val_rows) == (40, 0)
    assert "40 of 40 rows share their prompt" in data.notes[0]
    assert "--val_dataset_path" in data.notes[0]


def test_one_question_about_many_pictures_can_be_held_out(tmp_path: Path) -> None:
    rows = [{**chat("the same", f"answer {i}"), "images": [f"/{i}.png"]} for i in range(20)]
    assert run(tmp_path, rows, val_size=0.1).val_rows == 2


def test_a_validation_file_of_an_earlier_split_does_not_stay(tmp_path: Path) -> None:
    first = run(tmp_path, questions(40))
    assert first.val_path is not None
    second = run(tmp_path, questions(40), val_size=0)
    assert second.val_path is None
    assert not first.val_path.exists()


def test_the_split_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = questions(200)
    shuffled = random.Random(1).sample(rows, len(rows))
    one, other = run(tmp_path / "a", rows), run(tmp_path / "b", shuffled)
    assert set(prompts(one.val_path)) == set(prompts(other.val_path))
    again = run(tmp_path / "c", rows, seed=43)
    assert set(prompts(one.val_path)) != set(prompts(again.val_path))


def test_the_split_does_not_depend_on_the_folder_of_pictures(tmp_path: Path) -> None:
    """The same rows elsewhere, on another machine, held out others."""
    found = []
    for place in ("here", "there/数据"):
        (tmp_path / place).mkdir(parents=True)
        rows = [row | {"images": [f"/{place}/{i}.png"]} for i, row in enumerate(questions(200))]
        found.append(prompts(run(tmp_path / place, rows, val_size=0.2).val_path))
    assert found[0] == found[1]
    assert len(found[0]) == 40


def test_near_duplicate_clusters_stay_on_one_side(tmp_path: Path) -> None:
    rows = questions(100)
    checked = checked_data(tmp_path, rows)
    clusters = np.array([row - row % 5 for row in range(100)], "<u4")
    clusters.tofile(clusters_path(checked.rows_path))
    data = split(checked, out_dir=tmp_path / "out", val_size=0.2, seed=1, dedup=False, fit=None)
    held_out = {int(prompt.split()[1]) for prompt in prompts(data.val_path)}
    assert len(held_out) == 20
    assert all({row - row % 5 + i for i in range(5)} <= held_out for row in held_out)


def test_dedup_drops_repeats_and_keeps_the_first(tmp_path: Path) -> None:
    rows = questions(20)
    data = run(tmp_path, [*rows, rows[3], rows[3]], dedup=True, val_size=0)
    assert data.dropped == {"duplicate": 2}
    assert prompts(data.train_path) == [f"question {number}" for number in range(20)]


def test_overlong_rows_are_cut_dropped_and_counted(tmp_path: Path) -> None:
    rows = [chat("a", "b", "c", "d"), *questions(20)]
    fit = Fit(cutoff=9, keep_rounds={0: 1}, dropped=frozenset({4, 5}), truncated=frozenset({6}))
    data = run(tmp_path, rows, fit=fit, val_size=0)
    assert data.train_rows == 19
    assert data.dropped == {"overlong": 2}
    assert data.cut == {"cut_turns": 1, "cut_by_engine": 1}
    assert read_jsonl(data.train_path)[0] == chat("a", "b")


def test_rows_with_weights_are_cut_too(tmp_path: Path) -> None:
    """They lie in parquet; from there the longer rows went on whole, while the account said cut."""
    rows = [chat("a", "b", "c", "d") for _ in range(3)]
    rows[0]["conversations"][3][WEIGHT] = 0
    checked = checked_data(tmp_path / "checked", rows)
    typed = write_typed(checked.rows_path, frozenset(["conversations", "system", WEIGHT]))
    checked = replace(checked, rows_path=typed)
    fit = Fit(cutoff=9, keep_rounds={2: 1}, dropped=frozenset({1}))
    data = split(checked, out_dir=tmp_path / "out", val_size=0, seed=1, dedup=False, fit=fit)
    kept = parquet.read_table(data.train_path).to_pylist()
    assert [len(row["conversations"]) for row in kept] == [4, 2]
    assert [turn[WEIGHT] for turn in kept[0]["conversations"]] == [None, None, None, 0]


def test_nothing_left_to_train_on_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No training row is left") as caught:
        run(tmp_path, questions(3), fit=Fit(cutoff=9, dropped=frozenset({0, 1, 2})))
    assert "dropped: 3 overlong" in str(caught.value)


def test_a_validation_split_of_the_data_is_used_as_it_is(tmp_path: Path) -> None:
    data = run(tmp_path, questions(50), validation=questions(5, "other"))
    assert (data.train_rows, data.val_rows) == (50, 5)
    assert prompts(data.val_path) == [f"other {number}" for number in range(5)]
    assert "the data's own validation split is used (5 rows)" in data.notes


def leaking() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Lines 1, 2, 3 leak: the same row, the same prompt, nearly the same row."""
    given = [chat("same", "row"), chat("same prompt", "one"), chat(STORY, STORY[::-1])]
    near = chat(STORY.replace("cattle", "cows"), STORY[::-1])
    return [chat("same", "row"), chat("same prompt", "two"), near, *questions(20)], given


def test_leakage_is_reported_with_both_places_and_kept(tmp_path: Path) -> None:
    rows, given = leaking()
    problems: list[Problem] = []
    data = run(tmp_path, rows, validation=given, problems=problems.append)
    assert [(p.line, p.code, p.severity) for p in problems] == [
        (1, "leak_duplicate", "warning"),
        (2, "leak_prompt", "warning"),
        (3, "leak_near_duplicate", "warning"),
    ]
    assert problems[2].message == "nearly the same row is in the validation data (data.jsonl:3)"
    assert (data.train_rows, data.val_rows, data.dropped) == (23, 3, {})
    assert "3 training rows are in the validation data too (kept" in data.notes[0]


def test_dedup_drops_leaking_rows_from_training_only(tmp_path: Path) -> None:
    rows, given = leaking()
    data = run(tmp_path, rows, validation=given, dedup=True)
    assert (data.train_rows, data.val_rows, data.dropped) == (20, 3, {"leak": 3})


def test_overlong_validation_rows_are_in_the_account(tmp_path: Path) -> None:
    fit = Fit(cutoff=9, dropped=frozenset({1}))
    data = run(tmp_path, questions(20), validation=questions(5, "other"), validation_fit=fit)
    assert (data.train_rows, data.val_rows, data.dropped) == (20, 4, {"overlong": 1})


def test_mix_meets_the_proportions_without_repeating_a_row(tmp_path: Path) -> None:
    rows = questions(90)
    data = run(
        tmp_path,
        rows,
        files=("a.jsonl", "b.jsonl"),
        file_of=[0] * 60 + [1] * 30,
        mix={"a.jsonl": 1, "b.jsonl": 3},
        val_size=0.25,
    )
    used = [int(p.split()[1]) for p in prompts(data.train_path) + prompts(data.val_path)]
    assert len(used) == len(set(used)) == 40
    assert sum(row >= 60 for row in used) == 30
    assert data.dropped == {"mix": 50}


def test_the_weight_of_a_directory_is_that_of_all_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    names = (str(folder / "a.jsonl"), str(folder / "b.jsonl"), str(tmp_path / "c.jsonl"))
    data = run(
        tmp_path,
        questions(90),
        files=names,
        file_of=[0] * 30 + [1] * 30 + [2] * 30,
        mix={str(folder): 2, names[2]: 1},
        val_size=0.2,
    )
    used = [int(p.split()[1]) for p in prompts(data.train_path) + prompts(data.val_path)]
    assert len(used) == len(set(used)) == 90  # 60 to 30: as they are weighed
    data = run(
        tmp_path,
        questions(90),
        files=names,
        file_of=[0] * 30 + [1] * 30 + [2] * 30,
        mix={str(folder): 1, names[2]: 1},
        val_size=0,
    )
    used = [int(p.split()[1]) for p in prompts(data.train_path)]
    assert sum(row < 60 for row in used) == sum(row >= 60 for row in used) == 30


def test_a_weight_for_a_file_that_is_not_there_names_the_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--mix gives a weight to c\.jsonl"):
        run(tmp_path, questions(20), mix={"c.jsonl": 1})
    with pytest.raises(DataError, match=r"The weight of data\.jsonl in --mix is not usable"):
        run(tmp_path, questions(20), mix={"data.jsonl": -1})


letters = st.sampled_from("abcdef")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(letters, letters), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0, 5.0, 40.0]),
    st.booleans(),
    st.sets(st.integers(0, 59)),
    st.integers(-5, 5),
)
def test_the_split_is_a_partition_that_keeps_groups_together(
    tmp_path_factory: pytest.TempPathFactory,
    pairs: list[tuple[str, str]],
    val_size: float,
    dedup: bool,
    overlong: set[int],
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("split")
    rows = [chat(f"{q * 3} {number % 7}", answer) for number, (q, answer) in enumerate(pairs)]
    fit = Fit(cutoff=1, dropped=frozenset(row for row in overlong if row < len(rows)))
    if len(fit.dropped) == len(rows):
        return
    options: dict[str, Any] = {"val_size": val_size, "dedup": dedup, "seed": seed, "fit": fit}
    data = run(folder, rows, **options)
    train, held_out = prompts(data.train_path), prompts(data.val_path)
    assert data.train_rows + data.val_rows + sum(data.dropped.values()) == len(rows)
    assert (len(train), len(held_out)) == (data.train_rows, data.val_rows)
    assert set(train).isdisjoint(held_out)
    assert len(held_out) <= len(train)
    if not dedup:
        wanted = [
            p for n, p in enumerate(prompts(folder / "checked/rows.jsonl")) if n not in overlong
        ]
        assert sorted(train + held_out) == sorted(wanted)
    again = run(folder / "again", rows, **options)
    assert again.train_path.read_bytes() == data.train_path.read_bytes()
