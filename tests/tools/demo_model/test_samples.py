"""The bundled samples are what their generator makes, and honest to learn from."""

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.demo import SAMPLES, sample_path
from tools.demo_model.knowledge import load_things
from tools.demo_model.lessons import lessons
from tools.demo_model.samples import make_samples

CONTENTS = make_samples()
SHINGLE = 5


def rows_of(name: str) -> list[Any]:
    content = CONTENTS[name]
    if name.endswith(".json"):
        return list(json.loads(content))
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in content.splitlines()]
    if name.endswith(".csv"):
        return list(csv.DictReader(io.StringIO(content)))
    return content.strip().split("\n\n")


@pytest.mark.parametrize("name", sorted(CONTENTS))
def test_the_file_is_what_the_generator_makes(name: str) -> None:
    path = sample_path("alpaca").parent / name
    assert path.read_bytes() == CONTENTS[name].encode()


def test_every_sample_is_named_and_exists() -> None:
    assert set(SAMPLES.values()) <= set(CONTENTS)
    for dataset_format in SAMPLES:
        assert sample_path(dataset_format).is_file()
    with pytest.raises(KeyError):
        sample_path("xml")


@pytest.mark.parametrize("name", sorted(CONTENTS))
def test_no_row_occurs_twice(name: str) -> None:
    rows = rows_of(name)
    assert 50 <= len(rows) <= 600
    repeated = [row for row, n in Counter(map(json.dumps, rows)).items() if n > 1]
    assert repeated == []


@pytest.mark.parametrize("name", sorted(set(CONTENTS) - {"text.jsonl", "text.txt"}))
def test_hardly_any_two_rows_are_near_duplicates(name: str) -> None:
    texts = [" ".join(strings(row)) for row in rows_of(name)]
    shingles = [{text[i : i + SHINGLE] for i in range(len(text) - SHINGLE + 1)} for text in texts]
    near = [
        (texts[i], texts[j])
        for i in range(len(texts))
        for j in range(i)
        if jaccard(shingles[i], shingles[j]) >= 0.8
    ]
    assert len(near) <= 2, near


@pytest.mark.parametrize("name", ["alpaca.json", "sharegpt.json", "openai.jsonl", "belle.jsonl"])
def test_each_thing_is_the_topic_of_one_row_only(name: str) -> None:
    """So a held-out row asks about something that no training row mentions as its topic."""
    translation = {thing.name: thing.key for thing in load_things()}
    topics = Counter(translation[topic] for row in rows_of(name) for topic in topics_of(row))
    assert len(topics) >= 300
    assert max(topics.values()) == 1


def test_the_same_seed_gives_the_same_lessons_and_another_seed_others() -> None:
    things = load_things()
    assert lessons(things, 1) == lessons(things, 1)
    assert lessons(things, 1) != lessons(things, 2)


def test_some_alpaca_rows_have_history_and_some_a_system_prompt() -> None:
    rows = rows_of("alpaca.json")
    assert sum("history" in row for row in rows) >= 30
    assert sum("system" in row for row in rows) >= 30
    assert sum(bool(row["input"]) for row in rows) >= 30


def test_english_and_chinese_are_balanced() -> None:
    outputs = [row["output"] for row in rows_of("alpaca.json")]
    chinese = sum("主题" in output for output in outputs)
    assert 0.4 < chinese / len(outputs) < 0.6


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in strings(part)]
    if isinstance(value, list):
        return [text for part in value for text in strings(part)]
    return []


def topics_of(row: Any) -> set[str]:
    """The topics of all cards in a row."""
    cards = [json.loads(text) for text in strings(row) if text.startswith(('{"topic"', '{"主题"'))]
    return {card.get("topic") or card["主题"] for card in cards}


def jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def test_sample_paths_are_in_the_project() -> None:
    assert sample_path("auto") == Path(__file__).resolve().parents[3] / "data" / "alpaca.json"
