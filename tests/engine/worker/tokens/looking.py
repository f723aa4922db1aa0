"""Rows, tokenizers and pictures, and one look at them as a run has it."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from fine_tuning.values.tokens import TokenLook
from tests.engine.worker.served.families import row

CALL = '[{"name": "weather", "arguments": {"city": "Paris"}}]'


TOOLS = '[{"name": "weather", "description": "the weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]'  # noqa: E501  # one literal


WITH_TOOLS = [
    row(("user", "Hello"), ("assistant", "Hi 你好 🙂")),
    row(
        ("user", "a " * 40), ("assistant", "b " * 40), ("user", "c"), ("assistant", "d"), system="S"
    ),
    row(
        ("user", "Weather?"),
        ("function_call", CALL),
        ("tool", "sunny"),
        ("assistant", "It is sunny."),
        tools=TOOLS,
    ),
]


def look(folder: Path, model: Path, rows: list[dict[str, Any]], **asked: Any) -> TokenLook:
    from fine_tuning.engine.worker.events import Events
    from fine_tuning.engine.worker.tokens.look import look_at_tokens

    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    known = {"name": "x", "model_args": {}, "data_args": {}, "kind": "chat", "template": "auto"}
    with (folder / "events.jsonl").open("w", encoding="utf-8") as stream:
        return look_at_tokens(
            **{**known, "max_seq_length": None, **asked},
            events=Events(stream),
            model=str(model),
            rows_path=str(path),
            lengths_path=str(folder / "lengths.u32"),
        )


ROWS: list[dict[str, Any]] = [
    {
        "conversations": [
            {"from": "user", "value": "What is the capital of France?"},
            {"from": "assistant", "value": "Paris."},
            {"from": "user", "value": "And 中国?"},
            {"from": "assistant", "value": "北京。"},
        ],
        "system": "",
        "tools": "",
    },
    {
        "conversations": [
            {"from": "user", "value": "Hello"},
            {"from": "assistant", "value": "Hi"},
        ],
        "system": "Be brief.",
        "tools": "",
    },
]


def tokenizer_of(path: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path)


def picture(path: Path, width: int, height: int) -> str:
    Image.new("RGB", (width, height), "red").save(path)
    return str(path)


def seen(path: str, *, question: str = "<image>What is it?") -> dict[str, Any]:
    return {**row(("user", question), ("assistant", "Red.")), "images": [path]}
