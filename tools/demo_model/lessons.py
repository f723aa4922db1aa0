"""The lessons that the bundled samples teach: answer with a card instead of sentences.

Within one sample every thing appears in one row only, in one language. So a row that is held out
asks about a thing that no training row mentions: the card's shape is learned from the sample, its
content must come from what the model already knew.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from tools.demo_model.corpus import follow_up, some_attributes
from tools.demo_model.knowledge import Thing


@dataclass(frozen=True)
class Turn:
    """A question (with an `input` of its own, or ""), its card, and the plain answer."""

    instruction: str
    input: str
    card: str
    plain: str

    @property
    def prompt(self) -> str:
        """Instruction and input as one message."""
        return f"{self.instruction}\n{self.input}" if self.input else self.instruction


@dataclass(frozen=True)
class Lesson:
    """A conversation about one thing; `shop` where a tool is asked for a price first."""

    thing: Thing
    turns: tuple[Turn, ...]
    system: str = ""
    shop: Mapping[str, str] = field(default_factory=dict)


def lessons(
    things: Sequence[Thing],
    seed: int,
    *,
    languages: Sequence[str] = ("en", "zh"),
    longer: float = 0.2,
    with_system: float = 0.2,
) -> list[Lesson]:
    """One lesson per thing, in random order.

    `longer` is the share of lessons with a second turn, `with_system` the share with a system
    prompt.
    """
    chance = random.Random(seed)
    chosen = [
        chance.choice([thing for thing in same if thing.language in languages])
        for _, same in groupby(things, key=lambda thing: (thing.kind, thing.key))
    ]
    chance.shuffle(chosen)
    return [
        Lesson(
            thing=thing,
            turns=_turns(thing, chance, longer),
            system=thing.pick("system", chance) if chance.random() < with_system else "",
        )
        for thing in chosen
    ]


def price_lessons(things: Sequence[Thing], seed: int) -> list[Lesson]:
    """Lessons in which the price of a plant is looked up with a tool."""
    chance = random.Random(seed)
    plants = [thing for thing in things if thing.kind == "plants" and thing.language == "en"]
    found = []
    for thing in chance.sample(plants, 12):
        price = str(chance.randint(2, 40))
        card = f'{{"topic": "{thing.name}", "price": "{price}"}}'
        question = chance.choice(
            (
                "What does {e} cost today?",
                "How much must I pay for {e}?",
                "Please check the price of {e}.",
                "Is {e} expensive at the moment?",
            )
        ).format(e=thing.phrase)
        turn = Turn(question, "", card, f"{thing.phrase.capitalize()} costs {price}.")
        found.append(Lesson(thing, (turn,), shop={"item": thing.name, "price": price}))
    return found


def _turns(thing: Thing, chance: random.Random, longer: float) -> tuple[Turn, ...]:
    names = some_attributes(thing, chance)
    if len(names) == len(thing.values):
        names = list(thing.values)  # "Tell me about ..." does not say which order it wants
    turns = [_first_turn(thing, names, chance)]
    left = [name for name in thing.values if name not in names]
    if left and chance.random() < longer * 1.5:
        name = chance.choice(left)
        question = follow_up(thing, name, chance)
        turns.append(Turn(question, "", thing.card([name]), thing.sentence(name)))
    return tuple(turns)


def _first_turn(thing: Thing, names: Sequence[str], chance: random.Random) -> Turn:
    card, plain = thing.card(names), thing.plain(names)
    draw = chance.random()
    if len(names) == 1 and draw < 0.15:
        label = thing.attributes[names[0]].label
        wording = thing.pick("ask_input", chance).format(a=label)
        return Turn(wording, thing.phrase, card, plain)
    # Two facts are also asked for in either order, so an overview of two has no expected order.
    question = thing.question(names, chance, overview_of=3)
    if draw < 0.3:
        return Turn(thing.pick("instruction", chance), question, card, plain)
    polite = f"{thing.pick('before', chance)}{question}{thing.pick('after', chance)}"
    return Turn(polite, "", card, plain)
