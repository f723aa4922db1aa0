"""Near-duplicates: found, verified, and not seen where there are none."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fine_tuning.dataset.insight.near.find import THRESHOLD, find_near_duplicates
from fine_tuning.dataset.insight.near.groups import Groups
from fine_tuning.dataset.insight.near.shingles import (
    SHINGLE,
    compared_text,
    compared_texts,
    jaccard,
    shingle_batch,
    shingle_hashes,
    shingle_set,
)
from fine_tuning.dataset.insight.rows import Row, Turn
from tests.dataset.canonical_files import chat, write_canonical

ENGLISH = "".join("etaoinshrdlu")
CHINESE = "".join(map(chr, range(0x4E00, 0x4E00 + 800)))


def sentence(draw: random.Random, words: int) -> str:
    return " ".join("".join(draw.choices(ENGLISH, k=draw.randint(2, 8))) for _ in range(words))


def utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def find(folder: Path, rows: list[dict[str, Any]]) -> tuple[list[int], list[tuple[int, int]]]:
    path = folder / "rows.jsonl"
    write_canonical(path, rows)
    near = find_near_duplicates([path], len(rows))
    assert near.found == len(near.pairs)
    return near.clusters.tolist(), sorted((pair.first, pair.second) for pair in near.pairs)


def test_edited_copies_are_found_in_english_and_chinese(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows: list[dict[str, Any]] = []
    for number in range(50):
        answer = sentence(draw, 60) if number % 2 else "".join(draw.choices(CHINESE, k=150))
        rows.append(chat(f"question {number}", answer))
    english, chinese = (rows[place]["conversations"][1]["value"] for place in (11, 20))
    rows.append(chat("Question 11 ", english.upper().replace(" ", "  ")))  # case and space
    rows.append(chat("question 20", chinese[:70] + "好" + chinese[71:]))  # one character
    rows.append(rows[7])
    clusters, pairs = find(tmp_path, rows)
    assert pairs == [(11, 50), (20, 51)]
    assert clusters == [*range(50), 11, 20, 7]


@pytest.mark.parametrize(("pictures", "found"), [("ab", []), ("aa", [(0, 1)])])
def test_rows_with_other_pictures_are_other_rows(
    tmp_path: Path, pictures: str, found: list[tuple[int, int]]
) -> None:
    answer = sentence(random.Random(2), 40)
    rows = [
        {**chat("What is there?", answer + end), "images": [f"/{picture}.png"]}
        for picture, end in zip(pictures, (".", "!"), strict=True)
    ]
    assert find(tmp_path, rows)[1] == found


def test_short_rows_that_share_a_pattern_are_not_near_duplicates(tmp_path: Path) -> None:
    rows = [chat(f"What is {a} plus {b}?", str(a + b)) for a in range(20) for b in range(20)]
    clusters, pairs = find(tmp_path, rows)
    assert pairs == []
    assert clusters == list(range(400))


def test_a_long_instruction_in_every_row_does_not_make_them_duplicates(tmp_path: Path) -> None:
    draw = random.Random(2)
    instruction = sentence(draw, 700)
    rows = [chat(f"{instruction} {sentence(draw, 30)}", sentence(draw, 9)) for _ in range(200)]
    prompt, answer = (turn["value"] for turn in rows[3]["conversations"])
    rows.append(chat(prompt, f"{answer}!"))
    _, pairs = find(tmp_path, rows)
    assert pairs == [(3, 200)]


def test_every_pair_is_truly_similar_and_nearly_all_are_found(tmp_path: Path) -> None:
    """Against all pairs, on rows with many degrees of similarity."""
    draw = random.Random(3)
    rows = []
    for number in range(60):
        words = sentence(draw, 60).split()
        for edits in (0, 1, 2, 3, 5, 8):
            edited = words.copy()
            for _ in range(edits):
                edited[draw.randrange(len(edited))] = sentence(draw, 1)
            rows.append(chat(f"q{number}", " ".join(edited)))
    clusters, pairs = find(tmp_path, rows)
    texts = [f"{r['conversations'][0]['value']} {r['conversations'][1]['value']}" for r in rows]
    sets = [shingle_set(utf8(text), None) for text in texts]
    true_pairs = {
        (a, b)
        for group in range(0, len(rows), 6)
        for a in range(group, group + 6)
        for b in range(a + 1, group + 6)
        if jaccard(sets[a], sets[b]) >= THRESHOLD
    }
    assert set(pairs) <= true_pairs
    together = sum(clusters[a] == clusters[b] for a, b in true_pairs)
    assert together >= 0.97 * len(true_pairs)
    assert len(true_pairs) > 100


def test_rows_of_several_files_are_numbered_through(tmp_path: Path) -> None:
    draw = random.Random(4)
    rows = [chat(sentence(draw, 10), sentence(draw, 40)) for _ in range(12)]
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    write_canonical(paths[0], rows[:6])
    write_canonical(paths[1], [*rows[6:], rows[2]])
    assert find_near_duplicates(paths, 13).clusters.tolist() == [*range(12), 2]


def test_nothing_is_left_on_disk(tmp_path: Path) -> None:
    find(tmp_path, [chat("q", "a" * 50)])
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl", "rows.origins"}


# ASCII takes a fast way: texts with more than that, and none, and white space of all kinds.
TEXTS = st.text(st.sampled_from("ab c\n\t\x1c\x00ABÉß好\u3000😀"), max_size=30) | st.text(
    max_size=30
)


@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_a_batch_has_the_shingles_of_each_of_its_texts(texts: list[str]) -> None:
    written = [utf8(text) for text in texts]
    batch = shingle_batch(written, None)
    for number, text in enumerate(texts):
        own = batch.hashes[int(batch.starts[number]) : int(batch.starts[number + 1])]
        count = max(0, len(text) - SHINGLE + 1)
        assert batch.counts[number] == count
        if count:
            assert {*own.tolist()} == {*shingle_hashes(written[number]).tolist()}
    table = np.zeros(1 << 20, np.bool_)
    table[::3] = True
    rest = shingle_batch(written, table)
    for number, one in enumerate(written):
        own = rest.hashes[int(rest.starts[number]) : int(rest.starts[number + 1])]
        assert sorted({*own.tolist()}) == shingle_set(one, table).tolist()
        assert rest.counts[number] == len(own)


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=3), min_size=1, max_size=6))
def test_texts_are_normalised_together_as_each_is_alone(drawn: list[list[str]]) -> None:
    rows = [Row([Turn("user", text) for text in texts]) for texts in drawn]
    assert compared_texts(rows) == [utf8(compared_text(row)) for row in rows]
    ascii_rows = [
        Row([Turn(turn.role, turn.value.encode("ascii", "ignore").decode()) for turn in turns])
        for turns in (row.conversations for row in rows)
    ]
    assert compared_texts(ascii_rows) == [utf8(compared_text(row)) for row in ascii_rows]


@given(st.text(st.characters(max_codepoint=127), min_size=SHINGLE, max_size=30))
def test_pieces_of_ascii_are_the_same_beside_other_characters(text: str) -> None:
    alone = shingle_hashes(utf8(text)).tolist()
    assert shingle_hashes(utf8(text + "é"))[: len(alone)].tolist() == alone


@given(st.text(max_size=40), st.text(max_size=40))
def test_jaccard_is_that_of_the_sets_of_pieces(left: str, right: str) -> None:
    pieces = [{t[i : i + SHINGLE] for i in range(len(t) - SHINGLE + 1)} for t in (left, right)]
    union = pieces[0] | pieces[1]
    expected = len(pieces[0] & pieces[1]) / len(union) if union else 0.0
    sets = [shingle_set(utf8(text), None) for text in (left, right)]
    assert jaccard(*sets) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_groups_are_named_by_their_first_row(pairs: list[tuple[int, int]]) -> None:
    groups = Groups(20)
    expected = [{row} for row in range(20)]
    for left, right in pairs:
        groups.join(left, right)
        merged = expected[left] | expected[right]
        for row in merged:
            expected[row] = merged
    assert groups.labels().tolist() == [min(group) for group in expected]


def test_equal_keys_are_joined() -> None:
    groups = Groups(5)
    first = groups.join_equal(np.array([7, 8, 7, 9, 8], np.uint64))
    assert first.tolist() == [True, True, False, True, False]
    assert groups.labels().tolist() == [0, 1, 0, 3, 1]
