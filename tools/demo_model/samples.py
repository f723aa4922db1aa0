"""Write the bundled samples to `data/`, one or two per dataset format.

python -m tools.demo_model.samples [--output_dir data]
"""

import argparse
import csv
import io
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning.disk import resources
from tools.demo_model.knowledge import Thing, load_things
from tools.demo_model.lessons import Lesson, lessons, price_lessons

PRICE_TOOL = {
    "type": "function",
    "function": {
        "name": "price",
        "description": "Today's price.",
        "parameters": {"type": "object", "properties": {"item": {"type": "string"}}},
    },
}

Row = Mapping[str, Any]


def main() -> None:
    """Write every sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", type=Path, default=resources.SAMPLES)
    directory: Path = parser.parse_args().output_dir
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in make_samples().items():
        (directory / name).write_text(content, encoding="utf-8", newline="\n")


def make_samples() -> dict[str, str]:
    """File name -> content, the same on every call."""
    things = load_things()
    prices = price_lessons(things, 4)
    priced = {lesson.thing.key for lesson in prices}
    openai = prices + [x for x in lessons(things, 4, longer=0.3) if x.thing.key not in priced]
    random.Random(4).shuffle(openai)
    return {
        "alpaca.json": _array(map(alpaca, lessons(things, 1))),
        "alpaca.csv": _csv(map(alpaca, lessons(things, 11, longer=0.0, with_system=0.0))),
        "sharegpt.json": _array(map(sharegpt, lessons(things, 2, longer=0.6))),
        "belle.jsonl": _lines(map(belle, lessons(things, 3, languages=("zh",), with_system=0.0))),
        "openai.jsonl": _lines(map(openai_messages, openai)),
        "prompt_completion.jsonl": _lines(
            map(prompt_completion, lessons(things, 5, longer=0.0, with_system=0.0))
        ),
        "preference.json": _array(map(preference, lessons(things, 6, longer=0.0, with_system=0.0))),
        "kto.jsonl": _lines(
            map(kto, range(10**6), lessons(things, 7, longer=0.0, with_system=0.0))
        ),
        "text.jsonl": _lines({"text": text} for text in documents(things, 8)),
        "text.txt": "\n\n".join(documents(things, 9)) + "\n",
    }


def alpaca(lesson: Lesson) -> Row:
    """`instruction`, `input`, `output`, and where there are any `system` and `history`."""
    *earlier, last = lesson.turns
    row: dict[str, Any] = {
        "instruction": last.instruction,
        "input": last.input,
        "output": last.card,
    }
    if lesson.system:
        row["system"] = lesson.system
    if earlier:
        row["history"] = [[turn.prompt, turn.card] for turn in earlier]
    return row


def sharegpt(lesson: Lesson) -> Row:
    """`conversations` of `from` and `value`."""
    turns = [{"from": "system", "value": lesson.system}] if lesson.system else []
    for turn in lesson.turns:
        turns.append({"from": "human", "value": turn.prompt})
        turns.append({"from": "gpt", "value": turn.card})
    return {"conversations": turns}


def belle(lesson: Lesson) -> Row:
    """BELLE: a single question as it is, a conversation as `Human:` and `Assistant:` lines."""
    *earlier, last = lesson.turns
    if not earlier:
        return {"instruction": last.prompt, "input": "", "output": last.card}
    before = "".join(f"Human: {turn.prompt}\nAssistant: {turn.card}\n" for turn in earlier)
    instruction = f"{before}Human: {last.prompt}\nAssistant: "
    return {"instruction": instruction, "input": "", "output": last.card}


def openai_messages(lesson: Lesson) -> Row:
    """OpenAI `messages`; a price lesson calls the tool and reads its result."""
    messages: list[Row] = []
    if lesson.system:
        messages.append({"role": "system", "content": lesson.system})
    for turn in lesson.turns:
        messages.append({"role": "user", "content": turn.prompt})
        if lesson.shop:
            messages += _price_call(lesson.shop)
        messages.append({"role": "assistant", "content": turn.card})
    return {"messages": messages, "tools": [PRICE_TOOL]} if lesson.shop else {"messages": messages}


def _price_call(shop: Mapping[str, str]) -> list[Row]:
    arguments = json.dumps({"item": shop["item"]})
    function = {"name": "price", "arguments": arguments}
    return [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": json.dumps(shop)},
    ]


def prompt_completion(lesson: Lesson) -> Row:
    """`prompt` and `completion`."""
    return {"prompt": lesson.turns[0].prompt, "completion": lesson.turns[0].card}


def preference(lesson: Lesson) -> Row:
    """The card is chosen, the sentence rejected."""
    turn = lesson.turns[0]
    return {"prompt": turn.prompt, "chosen": turn.card, "rejected": turn.plain}


def kto(number: int, lesson: Lesson) -> Row:
    """By turns a wanted answer (the card) and an unwanted one (the sentence)."""
    turn = lesson.turns[0]
    wanted = number % 2 == 0
    return {
        "prompt": turn.prompt,
        "completion": turn.card if wanted else turn.plain,
        "label": wanted,
    }


def documents(things: Sequence[Thing], seed: int) -> list[str]:
    """Short pages for continued pre-training, each about four things of one kind."""
    chance = random.Random(seed)
    pages = []
    for language, title in (("en", "Notes on {}. "), ("zh", "关于{}的笔记。")):
        gap = " " if language == "en" else ""
        for kind in dict.fromkeys(thing.kind for thing in things):
            some = [t for t in things if (t.kind, t.language) == (kind, language)]
            chance.shuffle(some)
            for start in range(0, min(len(some) - 3, 16), 4):
                page = some[start : start + 4]
                names = (", " if language == "en" else "、").join(thing.name for thing in page)
                body = gap.join(thing.plain(list(thing.values)) for thing in page)
                pages.append(title.format(names) + body)
    chance.shuffle(pages)
    return pages


def _array(rows: Iterable[Row]) -> str:
    lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
    return f"[\n{lines}\n]\n"


def _lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _csv(rows: Iterable[Row]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, ["instruction", "input", "output"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


if __name__ == "__main__":
    main()
