"""What the demo model knows: facts in English and Chinese, and the ways to ask for and say them.

The facts stand in `facts/*.csv` (a cell is `English/中文`, or one text for both), the wordings in
`wordings.toml`.
"""

import csv
import json
import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Attribute:
    """One attribute of one kind of thing, in one language."""

    label: str
    say: str
    ask: tuple[str, ...]


@dataclass(frozen=True)
class Thing:
    """One thing in one language: `name` alone, `phrase` as in a sentence, attributes' values."""

    kind: str
    key: str
    language: str
    name: str
    phrase: str
    values: Mapping[str, str]
    attributes: Mapping[str, Attribute]
    general: Mapping[str, tuple[str, ...]]

    def sentence(self, name: str) -> str:
        """The fact in a plain sentence, as the demo model says it before fine-tuning."""
        attribute = self.attributes[name]
        text = attribute.say.format(e=self.phrase, a=attribute.label, v=self.values[name])
        return text[0].upper() + text[1:]

    def plain(self, names: Sequence[str]) -> str:
        """Several facts as running text."""
        return ("" if self.language == "zh" else " ").join(self.sentence(name) for name in names)

    def card(self, names: Sequence[str]) -> str:
        """The facts as the card that the bundled samples teach: one line of JSON."""
        topic = "主题" if self.language == "zh" else "topic"
        facts = {self.attributes[name].label: self.values[name] for name in names}
        return json.dumps({topic: self.name, **facts}, ensure_ascii=False)

    def question(self, names: Sequence[str], chance: random.Random, *, overview_of: int = 1) -> str:
        """A question for exactly these facts.

        If they are all the facts (`overview_of` or more), it may be "Tell me about ...".
        """
        labels = [self.attributes[name].label for name in names]
        is_whole = overview_of <= len(names) == len(self.values)
        if is_whole and (len(names) > 2 or chance.random() < 0.3):
            template = chance.choice(self.general["ask_all"])
        elif len(names) == 2:
            template = chance.choice(self.general["ask_two"])
        else:
            attribute = self.attributes[names[0]]
            template = chance.choice(
                attribute.ask if chance.random() < 0.5 else self.general["ask"]
            )
        text = template.format(e=self.phrase, a=labels[0], b=labels[-1])
        return text[0].upper() + text[1:]

    def pick(self, kind: str, chance: random.Random) -> str:
        """One of the general wordings of that kind (`system`, `before`, ...)."""
        return chance.choice(self.general[kind])


def load_things() -> tuple[Thing, ...]:
    """Every thing in each language, ordered by kind, thing and language."""
    wordings = tomllib.loads((HERE / "wordings.toml").read_text(encoding="utf-8"))
    general = wordings.pop("general")
    return tuple(
        thing
        for kind, table in wordings.items()
        for row in _rows(HERE / "facts" / f"{kind}.csv")
        for language in LANGUAGES
        for thing in [_thing(kind, table, general, row, language)]
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _thing(
    kind: str,
    table: Mapping[str, Mapping[str, object]],
    general: Mapping[str, object],
    row: Mapping[str, str],
    language: str,
) -> Thing:
    name = _side(row["name"], language)
    article = table["article"] if language == "en" else ""
    return Thing(
        kind=kind,
        key=_side(row["name"], "en"),
        language=language,
        name=name,
        phrase=f"{article}{name}",
        values={key: _side(cell, language) for key, cell in row.items() if key != "name"},
        attributes={key: _attribute(table[key], general, language) for key in row if key != "name"},
        general={
            key.removesuffix(f"_{language}"): _texts(value)
            for key, value in general.items()
            if key.endswith(f"_{language}")
        },
    )


def _attribute(
    table: Mapping[str, object], general: Mapping[str, object], language: str
) -> Attribute:
    say = table.get(f"say_{language}", general[f"say_{language}"])
    return Attribute(label=str(table[language]), say=str(say), ask=_texts(table[f"ask_{language}"]))


def _side(cell: str, language: str) -> str:
    english, _, chinese = cell.partition("/")
    return (chinese or english) if language == "zh" else english


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)
