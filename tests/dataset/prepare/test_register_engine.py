"""LLaMA-Factory itself loads every kind of canonical row, and loses none."""

import json
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.dataset.prepare.register import dataset_entry, entry_name, register
from fine_tuning.values.tables.kinds import Kind
from tests.dataset.canonical_files import chat
from tests.models import build_model

pytestmark = pytest.mark.engine

TOOLS = json.dumps([{"name": "weather", "description": "today", "parameters": {"type": "object"}}])
CALL = json.dumps([{"name": "weather", "arguments": {"city": "北京"}}])


def turns(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": role, "value": value} for role, value in pairs]


CHAT_ROWS = [
    chat("Hello", "Hi there.", "And now?", "Nothing.", system="You are kind."),
    chat("你好", "你好！"),
    {
        "conversations": turns(
            ("user", "Weather in Beijing?"),
            ("function_call", CALL),
            ("tool", "sunny"),
            ("assistant", "It is sunny."),
        ),
        "system": "",
        "tools": TOOLS,
    },
]
PREFERENCE_ROWS = [
    {
        "conversations": turns(("user", "One?")),
        "system": "s",
        "tools": "",
        "chosen": {"from": "assistant", "value": "good"},
        "rejected": {"from": "assistant", "value": "bad"},
    },
    {
        "conversations": turns(("user", "One?"), ("assistant", "yes"), ("user", "Two?")),
        "system": "",
        "tools": "",
        "chosen": {"from": "assistant", "value": "fine"},
        "rejected": {"from": "assistant", "value": "poor"},
    },
]
KTO_ROWS = [{**chat("a", "b"), "label": True}, {**chat("c", "d", system="s"), "label": False}]
TEXT_ROWS = [
    {"conversations": turns(("user", f"A document about {topic}."), ("assistant", ""))}
    for topic in ("rivers", "山", "trains")
]
CASES: list[tuple[Kind, str, list[dict[str, Any]]]] = [
    ("chat", "sft", CHAT_ROWS),
    ("text", "pt", TEXT_ROWS),
    ("preference", "rm", PREFERENCE_ROWS),
    ("kto", "kto", KTO_ROWS),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(("kind", "stage", "rows"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_llamafactory_loads_every_row(
    tmp_path: Path, model: Path, kind: Kind, stage: str, rows: list[dict[str, Any]], suffix: str
) -> None:
    run_dir = tmp_path / "运行 one, two"
    path = write(run_dir / f"train{suffix}", rows)
    columns = frozenset(rows[0])
    name = entry_name(run_dir, "train")
    register(tmp_path / "data", {name: dataset_entry(kind, columns, str(path))})

    aligned, encoded, tokenizer = load(tmp_path, model, name, stage)

    assert len(aligned) == len(encoded) == len(rows)
    for row, example in zip(rows, aligned, strict=True):
        assert example["_system"] == row.get("system", "")
        assert example["_tools"] == row.get("tools", "")
        check_turns(kind, row, example)
    if kind == "chat":
        text = tokenizer.decode(encoded[2]["input_ids"])
        assert "sunny" in text
        assert "You are kind." in tokenizer.decode(encoded[0]["input_ids"])


def check_turns(kind: Kind, row: dict[str, Any], example: dict[str, Any]) -> None:
    loaded = [turn["content"] for turn in example["_prompt"] + example["_response"]]
    written = [turn["value"] for turn in row["conversations"]]
    if kind == "preference":
        written += [row["chosen"]["value"], row["rejected"]["value"]]
    if kind == "kto":  # the answer that is not there stands on the other side
        written = [*written, ""] if row["label"] else [*written[:-1], "", written[-1]]
    assert loaded == written


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, model: Path, name: str, stage: str) -> tuple[Any, Any, Any]:
    """The rows as LLaMA-Factory aligns them, as it encodes them, and its tokenizer."""
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.data.loader import _get_merged_dataset
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    model_args, data_args, training_args, _, _ = get_train_args(
        {
            "model_name_or_path": str(model),
            "stage": "dpo" if stage == "rm" else stage,
            "do_train": True,
            "finetuning_type": "lora",
            "dataset": name,
            "dataset_dir": str(folder / "data"),
            "template": "qwen",
            "packing": False,
            "cutoff_len": 4096,
            "output_dir": str(folder / "out"),
            "use_cpu": True,
            "report_to": "none",
        }
    )
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    aligned = _get_merged_dataset([name], model_args, data_args, training_args, stage)
    module = get_dataset(
        template, model_args, data_args, training_args, stage=stage, tokenizer=tokenizer
    )
    return aligned, module["train_dataset"], tokenizer
