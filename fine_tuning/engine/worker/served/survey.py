"""All rows encoded once, before anything is planned: lengths, sequences, and what is refused."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import tee
from typing import Any

from fine_tuning.engine.worker.served.agreement import EngineRows, agrees
from fine_tuning.engine.worker.served.columns import Coded
from fine_tuning.engine.worker.served.encoder import BATCH, Encoded, Encoder
from fine_tuning.engine.worker.served.kept import Keeping
from fine_tuning.engine.worker.served.spread import batches_of, spread
from fine_tuning.engine.worker.served.text.messages import reasons

Row = Mapping[str, Any]
SAID = ("assistant", "function_call")


@dataclass
class Survey:
    """What was found in the rows of one file."""

    lengths: "array[int]" = field(default_factory=lambda: array("I"))  # of the longest sequence
    overlong: dict[int, tuple[int, ...]] = field(default_factory=dict)  # tokens after each round
    refused: dict[int, str] = field(default_factory=dict)
    sequences: int = 0
    rewritten: int = 0  # rows of several sequences
    untrained_answers: int = 0
    reasoned: int = 0  # trained answers with reasoning
    unreasoned: int = 0  # and without
    calls: int = 0  # rows with tool calls
    tools: int = 0
    systems: int = 0
    ends: set[int] = field(default_factory=set)  # ids that end trained answers
    differing: int = 0  # rows that the engine's template encodes in another way
    first_differing: int | None = None

    def add(self, rows: "Survey") -> None:
        """Take in what was found in the rows behind these."""
        before = len(self.lengths)
        self.lengths.extend(rows.lengths)
        self.overlong |= {before + number: rounds for number, rounds in rows.overlong.items()}
        self.refused |= {before + number: why for number, why in rows.refused.items()}
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(rows, name))
        self.ends |= rows.ends
        if self.first_differing is None and rows.first_differing is not None:
            self.first_differing = before + rows.first_differing


COUNTS = [one.name for one in fields(Survey) if one.type is int]


def survey(
    encoder: Encoder,
    rows: Iterable[Row],
    limit: int | None,
    engine: EngineRows | None = None,
    processes: int = 1,
    keeping: Keeping | None = None,
) -> Survey:
    """Encode every row; with `engine`, compare with what LLaMA-Factory would make of it. What was
    made of the rows is kept by `keeping`."""

    def surveyed(batch: Iterable[Row]) -> Survey:
        return _survey(encoder, iter(batch), limit, engine, keeping)

    if processes < 2:
        return surveyed(rows)
    found = Survey()
    for one in spread(encoder, surveyed, batches_of(rows, BATCH), processes):
        found.add(one)
    return found


def _survey(
    encoder: Encoder,
    rows: Iterator[Row],
    limit: int | None,
    engine: EngineRows | None,
    keeping: Keeping | None,
) -> Survey:
    found = Survey()
    coded: list[Coded] = []
    rows, again = tee(rows)
    whole = encoder.with_history()
    for number, (row, sequences) in enumerate(
        zip(again, encoder.encode(rows, found.refused), strict=True)
    ):
        length = max((len(one.tokens) for one in sequences), default=0)
        found.lengths.append(length)
        pairs = encoder.kind == "preference"
        found.sequences += 1 if pairs else len(sequences)
        found.rewritten += not pairs and len(sequences) > 1
        if limit is not None and length > limit:
            found.overlong[number] = _rounds(whole, row) if encoder.kind == "chat" else (length,)
        _account(found, row, sequences)
        if engine is not None and sequences and not trains_alike(engine, row, sequences, encoder):
            found.differing += 1
            if found.first_differing is None:
                found.first_differing = number
        if keeping is not None:
            coded.append((row, sequences))
            if len(coded) == BATCH:
                keeping.add(coded)
                coded.clear()
    if keeping is not None:
        keeping.add(coded)
    return found


def _account(found: Survey, row: Row, sequences: Sequence[Encoded]) -> None:
    answers = [turn for turn in row["conversations"] if turn["from"] in SAID]
    found.untrained_answers += sum(turn.get("weight") == 0 for turn in answers)
    compared = [row[name] for name in ("chosen", "rejected") if name in row]
    trained = compared or [turn for turn in answers if turn.get("weight") != 0]
    reasoned = sum(map(reasons, trained))
    found.reasoned += reasoned
    found.unreasoned += len(trained) - reasoned
    found.calls += any(turn["from"] == "function_call" for turn in answers)
    found.tools += bool(row.get("tools"))
    found.systems += bool(row.get("system"))
    found.ends |= {one.tokens[span.end - 1] for one in sequences for span in one.spans}


def _rounds(encoder: Encoder, row: Row) -> tuple[int, ...]:
    """Tokens of the longest sequence if the row ended after its first, second ... round."""
    rounds, most = [], 0
    (sequences,) = encoder.encode([row])
    spans = [span for one in sequences for span in one.spans]
    for place, span in enumerate(spans):
        most = max(most, span.end)
        if span.round_ends or place + 1 == len(spans):
            rounds.append(most)
    return tuple(rounds)


def trains_alike(
    engine: EngineRows, row: Row, sequences: Sequence[Encoded], encoder: Encoder
) -> bool:
    """Whether the engine makes of the row what is served."""
    try:
        theirs = engine.encoded(row)
    except Exception:  # templates raise on rows that they have no slots for
        return False
    if encoder.served.whole:  # the last token counts, which may be white space
        return [one.ids for one in sequences] == [ids for ids, _ in theirs]
    weights = not engine.data_args.train_on_prompt
    if any(turn.get("weight") == 0 for turn in row["conversations"]):
        weights = False  # masked by us on the engine's way too
    return agrees(sequences, theirs, encoder.tokenizer, weights)
