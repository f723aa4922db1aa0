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
    ABSENT,
    SHINGLE,
    Codes,
    ShingleBatch,
    compared_text,
    compared_texts,
    jaccard,
    shingle_batch,
    shingle_hashes,
    shingle_set,
)
from fine_tuning.dataset.insight.near.sketch import sketches
from fine_tuning.dataset.insight.rows import Row, Turn
from tests.dataset.canonical_files import chat, write_canonical

ENGLISH = "".join("etaoinshrdlu")
CHINESE = "".join(map(chr, range(0x4E00, 0x4E00 + 800)))


def sentence(draw: random.Random, words: int) -> str:
    return " ".join("".join(draw.choices(ENGLISH, k=draw.randint(2, 8))) for _ in range(words))


def codes(*texts: str, wide: bool = False) -> Codes:
    """Texts as they are, one behind the other."""
    text = "".join(texts)
    if text.isascii() and not wide:
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def normalised(text: str) -> str:
    """Letter by letter: lower case, and white space of any kind and length is a space."""
    return " ".join("".join(character.lower()[0] for character in text).split())


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
    sets = [shingle_set(codes(text), None) for text in texts]
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


def test_sketches_agree_in_about_the_share_that_two_sets_have_in_common() -> None:
    """In long texts, and in short ones whose places are filled in further rounds."""
    draw = np.random.default_rng(5)
    for size in (16, 60, 400):
        shares = []
        for _ in range(60):
            pieces = draw.integers(0, 1 << 32, size + size // 4, np.uint32)
            sets = pieces[:size], pieces[size // 4 :]  # 3/5 of all are in both
            spans = np.array([size, size])
            sketch = sketches(ShingleBatch(np.concatenate(sets), spans, spans), 72)
            assert np.count_nonzero(sketch == ABSENT) <= 6
            shares.append(np.mean(sketch[0] == sketch[1]))
        assert np.mean(shares) == pytest.approx(0.6, abs=0.04)


# ASCII takes a fast way: texts with more than that, and none, and white space of all kinds.
TEXTS = st.text(st.sampled_from("ab c\n\t\x1cABÉßİ好\u3000😀"), max_size=30) | st.text(
    st.characters(exclude_characters="\0"), max_size=30
)


@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_a_batch_has_the_shingles_of_each_of_its_texts(texts: list[str]) -> None:
    table = np.zeros(1 << 20, np.bool_)
    table[::3] = True
    for boilerplate in (None, table):
        batch = shingle_batch(codes(*(f"{text}\0" for text in texts)), boilerplate)
        assert batch.spans.tolist() == [len(text) + 1 for text in texts]
        own = np.split(batch.hashes, np.cumsum(batch.spans))
        for text, hashes, count in zip(texts, own, batch.counts, strict=False):
            left = hashes[hashes != ABSENT]
            assert sorted({*left.tolist()}) == shingle_set(codes(text), boilerplate).tolist()
            assert count == len(left)


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=3), min_size=1, max_size=6))
def test_texts_are_normalised_together_as_each_is_alone(drawn: list[list[str]]) -> None:
    for ascii_only in (False, True):
        texts = [
            [text.encode("ascii", "ignore").decode() if ascii_only else text for text in turns]
            for turns in drawn
        ]
        rows = [Row([Turn("user", text) for text in turns]) for turns in texts]
        expected = [normalised("\n".join(turns)) for turns in texts]
        written = bytes(compared_texts(rows).astype("<u4")).decode("utf-32-le", "surrogatepass")
        assert written == "".join(f"{text}\0" for text in expected)
        assert [compared_text(row).tolist() for row in rows] == [[*map(ord, t)] for t in expected]


def test_a_nul_in_a_text_parts_no_rows() -> None:
    rows = [Row([Turn("user", "one\0two")]), Row([Turn("user", "three")])]
    assert bytes(compared_texts(rows)) == b"one two\0three\0"


@given(st.text(st.characters(max_codepoint=127), min_size=SHINGLE, max_size=30))
def test_pieces_of_ascii_are_the_same_beside_other_characters(text: str) -> None:
    assert np.array_equal(shingle_hashes(codes(text)), shingle_hashes(codes(text, wide=True)))


@given(st.text(max_size=40), st.text(max_size=40))
def test_jaccard_is_that_of_the_sets_of_pieces(left: str, right: str) -> None:
    pieces = [{t[i : i + SHINGLE] for i in range(len(t) - SHINGLE + 1)} for t in (left, right)]
    union = pieces[0] | pieces[1]
    expected = len(pieces[0] & pieces[1]) / len(union) if union else 0.0
    sets = [shingle_set(codes(text), None) for text in (left, right)]
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
