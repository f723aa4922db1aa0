"""Rows as questions: the ids that a server would send, and the answer that is expected."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from fine_tuning.engine.worker.online.judging import Asked
from fine_tuning.engine.worker.rows import read_rows
from fine_tuning.engine.worker.scoring.inputs.prompts import Pair, Prompts


@dataclass(frozen=True, slots=True)
class Question:
    """What one canonical row asks (`source`), and the answer in it."""

    source: Mapping[str, Any]
    messages: Sequence[Mapping[str, str]]
    prompt_ids: Sequence[int]
    expected: str

    def answered(self, row: int, text: str, ids: Sequence[int]) -> Asked:
        """With an answer of the model's."""
        return Asked(row, self.source, self.messages, self.prompt_ids, self.expected, text, ids)


def question(row: Mapping[str, Any], pair: Pair) -> Question:
    """The question of a canonical row, whose prompt and answer are encoded in `pair`."""
    *before, last = row["conversations"]
    turns = [{"role": turn["from"], "content": turn["value"]} for turn in before]
    if row.get("system"):
        turns.insert(0, {"role": "system", "content": row["system"]})
    return Question(row, turns, pair[0], last["value"])


def questions_of(settings: Mapping[str, Any], prompts: Prompts) -> list[Question]:
    """The questions of the training rows."""
    folder = Path(settings["dataset_dir"])
    entries = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    path = folder / str(entries[settings["dataset"]]["file_name"])
    rows = list(islice(read_rows(path), settings.get("max_samples")))
    return list(map(question, rows, prompts.pairs(rows)))
