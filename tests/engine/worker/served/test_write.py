"""Encoded rows are what LLaMA-Factory's trainers read: its own columns, cuts and packing."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.models import train_tokenizer
from tests.trainings import rows_of

pytestmark = pytest.mark.engine

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
STAGES = {"chat": "sft", "preference": "rm", "kto": "kto"}


def written(folder: Path, kind: Any, rows: list[dict[str, Any]], **settings: Any) -> Any:
    """What we write of the rows, and what LLaMA-Factory makes of them by its exact template."""
    from datasets import Dataset
    from llamafactory.data.loader import _get_dataset_processor
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams.data_args import DataArguments

    from fine_tuning.engine.worker.events import Events
    from fine_tuning.engine.worker.served.encoder import encoder_of
    from fine_tuning.engine.worker.served.write import write_encoded
    from fine_tuning.engine.worker.tokens.rendering import engine_messages
    from tests.models import CHATML

    tokenizer = train_tokenizer(SPECIAL, "<|im_end|>")
    tokenizer.chat_template = CHATML
    arguments = DataArguments(template="chatml", **{"cutoff_len": 1000, **settings})
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    encoder = encoder_of(tokenizer, kind)
    assert encoder is not None
    out, events = folder / "encoded", Events(io.StringIO())
    counts = write_encoded(encoder, {"train": path}, arguments, out, events)
    prompts, answers = [], []
    for row in rows:
        ends = [row["chosen"], row["rejected"]] if kind == "preference" else []
        messages = engine_messages({"conversations": [*row["conversations"], *ends]})
        last = 2 if ends else 1
        prompts.append(messages[:-last])
        said = messages[-last:]
        nothing = {"role": "assistant", "content": ""}
        if kind == "kto":
            said = [*said, nothing] if row["label"] else [nothing, *said]
        answers.append(said)
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    processor = _get_dataset_processor(arguments, STAGES[kind], template, tokenizer, None)
    empty = {name: [None] * len(rows) for name in ("_images", "_videos", "_audios")}
    texts = {"_system": [""] * len(rows), "_tools": [""] * len(rows)}
    examples = {"_prompt": prompts, "_response": answers, **texts, **empty}
    theirs = Dataset.from_dict(processor.preprocess_dataset(examples))
    return tokenizer, counts, out, theirs


def read(out: Path) -> Any:
    from datasets import load_from_disk

    return load_from_disk(str(out))["train"]


@pytest.mark.parametrize("kind", STAGES)
def test_the_columns_are_those_of_the_engine_s_own_processors(tmp_path: Path, kind: str) -> None:
    rows = rows_of(kind, 5)  # type: ignore[arg-type]  # a kind
    tokenizer, counts, out, theirs = written(tmp_path, kind, rows)
    ours = read(out)
    assert counts == {"rows": {"train": 5}, "sequences": {"train": 5}}
    assert (out / "train.rows").stat().st_size == 4 * len(ours)
    assert set(ours.column_names) == set(theirs.column_names)
    newline = tokenizer.encode("\n")
    for one, other in zip(ours, theirs, strict=True):
        for name in (name for name in one if name.endswith(("ids", "labels"))):
            assert one[name] + newline == other[name], name  # which no server asks a model for
        assert one.get("kto_tags") == other.get("kto_tags")
        assert one["images"] is None


def test_packed_sequences_are_the_engine_s_blocks(tmp_path: Path) -> None:
    rows = rows_of("chat", 9)
    settings = {"packing": True, "neat_packing": True, "cutoff_len": 160}
    _, counts, out, theirs = written(tmp_path, "chat", rows, **settings)
    ours = read(out)
    assert counts["sequences"] == {"train": 9}
    assert set(ours.column_names) == set(theirs.column_names)
    assert {len(one["input_ids"]) for one in ours} == {len(theirs[0]["input_ids"])}
    assert max(map(max, ours["attention_mask"])) > 1  # rows of a block are told apart


@pytest.mark.parametrize("kind", ["chat", "kto"])  # kto: what is estimated keeps to a batch
def test_several_processes_encode_the_same(tmp_path: Path, kind: str) -> None:
    rows = rows_of(kind, 21)  # type: ignore[arg-type]  # a kind
    settings = {"preprocessing_batch_size": 4}
    _, _, alone, _ = written(tmp_path, kind, rows, **settings)
    (tmp_path / "two").mkdir()
    settings |= {"preprocessing_num_workers": 2}
    _, counts, shared, _ = written(tmp_path / "two", kind, rows, **settings)
    assert counts["sequences"] == {"train": 21}
    assert read(alone).to_dict() == read(shared).to_dict()
    assert (alone / "train.rows").read_bytes() == (shared / "train.rows").read_bytes()


def test_max_samples_and_the_cutoff_hold(tmp_path: Path) -> None:
    rows = rows_of("chat", 6)
    _, counts, out, _ = written(tmp_path, "chat", rows, max_samples=4, cutoff_len=12)
    assert counts["rows"] == {"train": 4}
    assert {len(ids) for ids in read(out)["input_ids"]} == {12}
