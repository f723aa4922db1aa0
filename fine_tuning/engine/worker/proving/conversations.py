"""The conversations of a contract: held-out rows of the run, and general ones."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fine_tuning.engine.worker.chatting.speaker import Speaker
from fine_tuning.engine.worker.rows import read_rows
from fine_tuning.engine.worker.scoring.inputs.prompts import OfServer
from fine_tuning.engine.worker.served.encoder import encoder_of
from fine_tuning.engine.worker.served.text.chat_template import Refused
from fine_tuning.engine.worker.served.text.guard import bounded
from fine_tuning.engine.worker.served.text.messages import dialogue
from fine_tuning.engine.worker.served.text.turns import Dialogues
from fine_tuning.engine.worker.tokens.counting.media import media_of
from fine_tuning.errors import UsageError

MOST = 16
OF_ROWS = 8
LONGEST = 1024  # tokens of a prompt
BEGINNING = 200  # characters of a text that a model goes on from
LOOKED_THROUGH = 200  # rows
Row = Mapping[str, Any]

WEATHER = {
    "name": "get_weather",
    "description": "Says what the weather is like in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "name of the city"}},
        "required": ["city"],
    },
}
CALL = json.dumps([{"name": "get_weather", "arguments": {"city": "Oslo"}}])


def _row(*turns: tuple[str, str], system: str = "", tools: Sequence[Any] = ()) -> Row:
    return {
        "conversations": [{"from": role, "value": text} for role, text in turns],
        "system": system,
        "tools": json.dumps(list(tools)) if tools else "",
    }


# What rows may lack, and what tokenizers and templates treat in different ways.
GENERAL: Mapping[str, Row] = {
    "English": _row(("user", "What is the capital of France?")),
    "Chinese, system prompt": _row(("user", "请用一句话介绍长江。"), system="你是一个简洁的助手。"),
    "English, system prompt, two rounds": _row(
        ("user", "My name is Ada. What is 12 + 30?"),
        ("assistant", "12 + 30 = 42."),
        ("user", "And what is my name?"),
        system="Answer briefly.",
    ),
    "Chinese, two rounds": _row(
        ("user", "水在多少度结冰？"),
        ("assistant", "零度。"),
        ("user", "那么在多少度沸腾？"),
    ),
    "code, numbers and signs": _row(
        (
            "user",
            "  Explain:\n```python\ndef f(x):\n\treturn x**2 + 3.14\n```\n日本語 café 🙂 1,000",
        )
    ),
    "functions": _row(("user", "Is it raining in Oslo?"), tools=[WEATHER]),
    "a function's result": _row(
        ("user", "Is it raining in Oslo?"),
        ("function_call", CALL),
        ("tool", '{"weather": "rain", "celsius": 7}'),
        tools=[WEATHER],
    ),
    "Chinese": _row(("user", "写一个三个词的句子。")),
}
TEXTS = (
    "The capital of France is",
    "从前有一座山，",
    "def add(a, b):\n    return",
    "Dear colleagues,",
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A prompt, and the messages that a client would send for it."""

    name: str
    prompt: str
    ids: Sequence[int]
    messages: Sequence[Mapping[str, Any]] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def conversations(
    speaker: Speaker,
    rows: Path | None,
    *,
    chat_template: str | None,
    thinking: bool | None,
    as_engine: bool,
    documents: bool,
) -> list[Asked]:
    """At most 16 prompts: of the rows as they were trained, the others by the chat template that
    goes out with the model (`as_engine`: by LLaMA-Factory's, which renders otherwise)."""
    if documents:
        texts = [*_beginnings(rows), *((text, text) for text in TEXTS)]
        asked = (
            Asked(name=name, prompt=text, ids=speaker.questions.prompt(_row(("user", text))))
            for name, text in texts[:MOST]
        )
        return list(asked)
    served = _dialogues(speaker, chat_template)
    found = []
    for number, row in enumerate(_questions(rows), 1):
        one = _asked(speaker, served, f"held-out row {number}", row, thinking, trained=True)
        if one is not None and len(one.ids) <= LONGEST:
            found.append(one)
        if len(found) == OF_ROWS:
            break
    for name, row in GENERAL.items():
        if served is None or (row["tools"] and not (served.able.tools and served.able.calls)):
            continue
        one = _asked(speaker, served, name, row, thinking, trained=as_engine)
        if one is not None:
            found.append(one)
    return found[:MOST]


def _dialogues(speaker: Speaker, chat_template: str | None) -> Dialogues | None:
    """The chat template that goes out, with what it takes; None if none does."""
    if isinstance(speaker.questions, OfServer):
        return speaker.questions.dialogues
    stops = speaker.tokenizer.convert_ids_to_tokens(list(speaker.stop_ids))
    encoder = encoder_of(speaker.tokenizer, "kto", chat_template=chat_template, stops=stops)
    return None if encoder is None else encoder.served


def _questions(rows: Path | None) -> Iterator[Row]:
    """Rows up to where the last answer begins."""
    if rows is None:
        return
    for number, row in enumerate(read_rows(rows)):
        if number == LOOKED_THROUGH:
            return
        turns = row["conversations"]
        if any(media_of(row)):
            continue
        yield row if "chosen" in row else {**row, "conversations": turns[:-1]}


def _asked(
    speaker: Speaker,
    served: Dialogues | None,
    name: str,
    row: Row,
    thinking: bool | None,
    *,
    trained: bool,
) -> Asked | None:
    """The prompt of a row, `trained` by the way that rows were encoded; None if it is refused."""
    try:
        ids = speaker.questions.prompt(row) if trained else None
    except UsageError:
        return None
    if served is None:
        assert ids is not None
        return Asked(name=name, prompt=speaker.tokenizer.decode(ids), ids=ids)
    talk = dialogue(row, served.able, served.default_system)
    try:
        with bounded():
            text = served.template.render(talk.messages, talk.tools, prompt=True, thinking=thinking)
    except Refused:
        return None
    rendered = speaker.tokenizer.encode(text, add_special_tokens=False)
    ids = rendered if ids is None else ids
    switches = served.able.switches if thinking is not None else ()
    return Asked(
        name=name,
        prompt=text if ids == rendered else speaker.tokenizer.decode(ids),
        ids=ids,
        messages=talk.messages,
        tools=talk.tools or (),
        options=dict.fromkeys(switches, thinking),
    )


def _beginnings(rows: Path | None) -> list[tuple[str, str]]:
    found = []
    for number, row in enumerate(read_rows(rows) if rows else ()):
        if number == OF_ROWS:
            break
        found.append((f"held-out text {number + 1}", row["conversations"][0]["value"][:BEGINNING]))
    return found
