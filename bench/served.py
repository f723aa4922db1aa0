"""Trained answers in contexts that a server would not send: ours beside LLaMA-Factory's templates.

    .venv/bin/python bench/served.py --tokenizers DIR [--templates DIR]

`--tokenizers`: a folder of directories with real tokenizers that have chat templates.
`--templates`: a folder of real chat templates (*.jinja); each is put on the first tokenizer.
Rows of six shapes are encoded in both ways. A context is right if it is what Transformers'
`apply_chat_template` makes of the turns before, as ids.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from llamafactory.data.template import TEMPLATES, parse_template
from transformers import AutoTokenizer

from fine_tuning.engine.worker.served.agreement import engine_rows
from fine_tuning.engine.worker.served.encoder import Encoder, encoder_of
from fine_tuning.engine.worker.served.text.messages import dialogue, reasons
from fine_tuning.engine.worker.tokens.template import choose_template, thinking_in
from fine_tuning.errors import FineTuningError
from tests.engine.worker.served.families import SHAPES

Ids = tuple[int, ...]
Encode = Callable[[Encoder, dict[str, Any]], list[Ids]]
IGNORED = -100


def contexts(encoder: Encoder, row: dict[str, Any]) -> list[Ids]:
    """What a server sends before each answer of the row, by Transformers' own function."""
    tokenizer, served = encoder.tokenizer, encoder.served
    talk = dialogue(row, served.able)
    found = []
    for place, turn in talk.answers:
        given = {**served.template.given, **dict.fromkeys(served.able.switches, reasons(turn))}
        tools = talk.tools or given.pop("tools", None)
        given.pop("tools", None)
        text = tokenizer.apply_chat_template(
            talk.messages[:place],
            tools=tools,
            tokenize=False,
            add_generation_prompt=True,
            **given,
        )
        found.append(tuple(tokenizer.encode(text, add_special_tokens=False)))
    return found


def ours(encoder: Encoder, row: dict[str, Any]) -> list[Ids]:
    """The ids before each answer that we train."""
    (sequences,) = encoder.encode([row])
    return [tuple(one.ids[: span.start]) for one in sequences for span in one.spans]


def of_engine(encoder: Encoder, row: dict[str, Any], name: str) -> list[Ids]:
    """The ids before each span that LLaMA-Factory trains by the template that is nearest."""
    thinking = thinking_in([row])
    choice = choose_template("auto", encoder.tokenizer, name, name, [row], thinking)
    template = TEMPLATES[choice.name] if choice.name else parse_template(encoder.tokenizer)
    on = choice.enable_thinking
    engine = engine_rows(template, encoder.tokenizer, None, encoder.pieces, "chat", {}, on)
    if engine is None:
        raise ValueError("the template adds tokens")
    ((ids, labels),) = engine.encoded(row)
    starts = [
        place
        for place, label in enumerate(labels)
        if label != IGNORED and (place == 0 or labels[place - 1] == IGNORED)
    ]
    return [tuple(ids[:start]) for start in starts]


def judged(encoder: Encoder, name: str) -> Iterator[tuple[str, str, int, int]]:
    """(way, "exact", "strange" or "refused", spans, strange spans) of each shape."""
    for row in SHAPES.values():
        try:
            right = set(contexts(encoder, row))
        except Exception:  # the template renders no such row: nobody can serve it
            continue
        ways: dict[str, Encode] = {"ours": ours, "LLaMA-Factory's": partial(of_engine, name=name)}
        for way, encode in ways.items():
            try:
                found = encode(encoder, row)
            except Exception:  # LLaMA-Factory's templates raise anything
                yield way, "refused", 0, 0
                continue
            strange = sum(one not in right for one in found)
            yield way, "strange" if strange else "exact", len(found), strange


def main() -> None:
    """Print the counts of pairs and spans."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokenizers", type=Path, required=True)
    parser.add_argument("--templates", type=Path)
    options = parser.parse_args()
    tokenizers = {
        path.parent.name: AutoTokenizer.from_pretrained(path.parent)
        for path in sorted(options.tokenizers.rglob("tokenizer_config.json"))
    }
    families = {name: one for name, one in tokenizers.items() if one.chat_template}
    sets = {"families": [*families.items()]}
    if options.templates:
        sets["templates"] = [
            (path.stem, path) for path in sorted(options.templates.glob("*.jinja"))
        ]
    for title, entries in sets.items():
        counts: Counter[tuple[str, str]] = Counter()
        for name, entry in entries:
            tokenizer = entry
            if isinstance(entry, Path):
                tokenizer = next(iter(families.values()))
                tokenizer.chat_template = entry.read_text(encoding="utf-8")
            try:
                encoder = encoder_of(tokenizer, "chat")
            except FineTuningError as error:
                print(f"{name}: renders nothing ({error.why})")
                continue
            assert encoder is not None
            for way, kind, spans, strange in judged(encoder, name):
                counts[way, kind] += 1
                counts[way, "spans"] += spans
                counts[way, "strange spans"] += strange
        for way in ("LLaMA-Factory's", "ours"):
            told = ", ".join(f"{kind} {counts[way, kind]}" for kind in KINDS)
            print(f"{title}: {way}: {told}")


KINDS = ("exact", "strange", "refused", "spans", "strange spans")

if __name__ == "__main__":
    main()
