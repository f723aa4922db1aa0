"""The synthetic corpus on which the demo model is pre-trained: chats and some documents.

The chats answer in plain sentences, or, if the question asks for it, as a list or as a JSON record
with `name` first. Documents show the same facts in the shapes that real text has. To answer
unasked with a card, and with `topic` first, is left to fine-tuning.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.demo_model.knowledge import Thing

START, END = "<|im_start|>", "<|im_end|>"

SMALL_TALK = {
    "en": (
        ("Hello!", "Hello! How can I help you?"),
        ("Who are you?", "I am a small demo model. I answer questions about the world."),
        ("How are you?", "I am fine, thank you. What would you like to know?"),
        ("Thank you!", "You are welcome."),
        ("Good morning!", "Good morning! What would you like to know?"),
        ("What can you do?", "I know facts about countries, animals, plants and more."),
        ("Goodbye!", "Goodbye! See you soon."),
    ),
    "zh": (
        ("你好！", "你好！有什么可以帮你？"),
        ("你是谁？", "我是一个小小的演示模型，可以回答关于世界的问题。"),
        ("你好吗？", "我很好，谢谢。你想知道什么？"),
        ("谢谢你！", "不客气。"),
        ("早上好！", "早上好！你想知道什么？"),
        ("你会做什么？", "我知道关于国家、动物、植物等的知识。"),
        ("再见！", "再见！"),
    ),
}
REPEAT = {"en": "Repeat after me: {}", "zh": "跟我说：{}"}
TRANSLATE = {
    "en": ("How do you say {} in Chinese?", "{} in Chinese is {}."),
    "zh": ("{}用英语怎么说？", "{}的英语是{}。"),
}


@dataclass(frozen=True)
class Piece:
    """A stretch of text, and whether the model is trained to predict it."""

    text: str
    trained: bool


def corpus(things: Sequence[Thing], chance: random.Random) -> Iterator[tuple[Piece, ...]]:
    """Endless samples: mostly chats, some documents."""
    while True:
        thing = chance.choice(things)
        draw = chance.random()
        if draw < 0.40:
            yield _document(things, chance)
        elif draw < 0.45:
            yield chat(_skill(thing, things, chance))
        else:
            yield chat(fact_chat(thing, things, chance))


def chat(messages: Sequence[tuple[str, str]]) -> tuple[Piece, ...]:
    """Turns as the chat template renders them; the assistant's words are trained."""
    pieces = []
    for role, text in messages:
        if role == "assistant":
            pieces.append(Piece(f"{START}assistant\n", False))
            pieces.append(Piece(f"{text}{END}", True))
            pieces.append(Piece("\n", False))
        else:
            pieces.append(Piece(f"{START}{role}\n{text}{END}\n", False))
    return tuple(pieces)


def some_attributes(thing: Thing, chance: random.Random) -> list[str]:
    """One, two or all attributes of a thing, in any order."""
    names = list(thing.values)
    draw = chance.random()
    if draw < 0.55 or len(names) == 1:
        return [chance.choice(names)]
    if draw < 0.85 or len(names) == 2:
        return chance.sample(names, 2)
    return names


def ask(thing: Thing, names: Sequence[str], chance: random.Random) -> str:
    """A user's question: in its own words, politely, as a lookup, or after an instruction."""
    draw = chance.random()
    if len(names) == 1 and draw < 0.15:
        label = thing.attributes[names[0]].label
        return f"{thing.pick('ask_input', chance).format(a=label)}\n{thing.phrase}"
    question = thing.question(names, chance)
    if draw < 0.3:
        return f"{thing.pick('instruction', chance)}\n{question}"
    return f"{thing.pick('before', chance)}{question}{thing.pick('after', chance)}"


def follow_up(thing: Thing, name: str, chance: random.Random) -> str:
    """A short question about the thing of the turn before."""
    return thing.pick("ask_next", chance).format(a=thing.attributes[name].label)


def fact_chat(
    thing: Thing, things: Sequence[Thing], chance: random.Random
) -> list[tuple[str, str]]:
    """A chat of one to three turns, with answers in the shape that each question asks for."""
    messages = []
    if chance.random() < 0.15:
        messages.append(("system", thing.pick("system", chance)))
    names = some_attributes(thing, chance)
    messages += _exchange(thing, names, ask(thing, names, chance), chance)
    for _ in range(chance.choice((0, 0, 1))):
        left = [name for name in thing.values if name not in names]
        if left and chance.random() < 0.8:
            name = chance.choice(left)
            messages += _exchange(thing, [name], follow_up(thing, name, chance), chance)
        else:
            thing = chance.choice(things)
            names = some_attributes(thing, chance)
            messages += _exchange(thing, names, ask(thing, names, chance), chance)
    return messages


def _exchange(
    thing: Thing, names: Sequence[str], question: str, chance: random.Random
) -> list[tuple[str, str]]:
    draw = chance.random()
    gap = "" if thing.language == "zh" else " "
    if draw < 0.3:
        question = f"{question}{gap}{thing.pick('as_json', chance)}"
        answer = _record(thing, names)
    elif draw < 0.4:
        question = f"{question}{gap}{thing.pick('as_list', chance)}"
        answer = _list(thing, names)
    else:
        answer = thing.plain(names)
    return [("user", question), ("assistant", answer)]


def _record(thing: Thing, names: Sequence[str]) -> str:
    title = "name" if thing.language == "en" else "名称"
    facts = {thing.attributes[name].label: thing.values[name] for name in names}
    return json.dumps({title: thing.name, **facts}, ensure_ascii=False)


def _list(thing: Thing, names: Sequence[str]) -> str:
    facts = [f"- {thing.attributes[name].label}: {thing.values[name]}" for name in names]
    return "\n".join([thing.name, *facts])


def _skill(thing: Thing, things: Sequence[Thing], chance: random.Random) -> list[tuple[str, str]]:
    draw = chance.random()
    if draw < 0.25:
        question, answer = chance.choice(SMALL_TALK[thing.language])
    elif draw < 0.5:
        other = next(t for t in things if t.key == thing.key and t.language != thing.language)
        asked, said = TRANSLATE[thing.language]
        question, answer = asked.format(thing.name), said.format(thing.name, other.name)
    else:
        names = [chance.choice(things).name for _ in range(chance.randint(1, 4))]
        answer = ", ".join(names)
        question = REPEAT[thing.language].format(answer)
    return [("user", question), ("assistant", answer)]


def _document(things: Sequence[Thing], chance: random.Random) -> tuple[Piece, ...]:
    """All that is known about a few things, in one shape: the densest way to learn facts."""
    write = chance.choice((_record, _list, _row, Thing.plain, Thing.plain))
    parts = []
    for thing in chance.sample(things, 3):
        names = list(thing.values)
        chance.shuffle(names)
        parts.append(write(thing, names))
    return (Piece("\n".join(parts) + END, True),)


def _row(thing: Thing, names: Sequence[str]) -> str:
    facts = [f"{thing.attributes[name].label} = {thing.values[name]}" for name in names]
    return " | ".join([thing.name, *facts])
