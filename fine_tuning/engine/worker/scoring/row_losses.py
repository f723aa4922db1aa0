"""The loss of every row of a training, of the tokens that are trained of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
from llamafactory.hparams.data_args import DataArguments

from fine_tuning.disk.files import read_json, write_text
from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.rows import read_rows
from fine_tuning.engine.worker.scoring.generate import (
    MASKED,
    RowLoss,
    scoring_mode,
    sequence_loss,
)
from fine_tuning.engine.worker.scoring.inputs.batches import OutOfMemory
from fine_tuning.engine.worker.served.write import served_encoder
from fine_tuning.engine.worker.tokens.counting.media import media_of
from fine_tuning.engine.worker.tokens.rendering import engine_messages, is_trained
from fine_tuning.engine.worker.training.weights import Marking, WeightedProcessor
from fine_tuning.values.tokens import Served

Row = Mapping[str, Any]
Labelled = tuple[list[int], list[int]]  # ids, and their labels
# Those of the engine's settings that decide which tokens of a row are trained.
DECIDING = (
    "template",
    "enable_thinking",
    "default_system",
    "tool_format",
    "cutoff_len",
    "mask_history",
    "train_on_prompt",
)
ANEW = "delete it, and no ledger is kept of this training"


@dataclass(frozen=True)
class Measured:
    """What is measured: the rows of the files by their part, trained as `kind` says (text, or
    answers), and how rows are encoded ahead; `out` keeps the losses."""

    files: Mapping[str, str]
    kind: str
    out: str
    served: Mapping[str, Any] | None = None


class Encoding(Protocol):
    """What of rows is trained."""

    def labelled(self, rows: Sequence[Row]) -> Iterator[list[Labelled]]:
        """The sequences of each row; none of a row that is not known to be trained."""


@dataclass(frozen=True)
class ByEngine:
    """As LLaMA-Factory encodes rows, with the weights of answers."""

    processor: Any

    def labelled(self, rows: Sequence[Row]) -> Iterator[list[Labelled]]:
        """One sequence a row, cut off at the cutoff."""
        for row in rows:
            turns = zip(engine_messages(row), row["conversations"], strict=True)
            messages = [{**it, "weight": int(is_trained(turn))} for it, turn in turns]
            asked, answered = messages[:-1], messages[-1:]
            system, tools = row.get("system") or "", row.get("tools") or ""
            encode = self.processor._encode_data_example
            yield [encode(asked, answered, system, tools, [], [], [])]


@dataclass(frozen=True)
class ByServer:
    """As the chat template that a server uses makes them."""

    encoder: Any
    data_args: Any

    def labelled(self, rows: Sequence[Row]) -> Iterator[list[Labelled]]:
        """One sequence a row, or several where its history is rewritten."""
        most, whole = self.data_args.cutoff_len, self.data_args.train_on_prompt
        for sequences in self.encoder.encode(rows):
            yield [
                (one.ids[:most], (one.ids if whole else one.labels(MASKED))[:most])
                for one in sequences
            ]


@dataclass(frozen=True)
class OfTexts:
    """Texts in blocks as long as those that are trained."""

    tokenizer: Any
    cutoff: int

    def labelled(self, rows: Sequence[Row]) -> Iterator[list[Labelled]]:
        """All tokens of a text, but the first if no token begins texts."""
        bos = self.tokenizer.bos_token_id
        start = [] if bos is None else [bos]
        for row in rows:
            text = row["conversations"][0]["value"]
            ids = [*start, *self.tokenizer.encode(text, add_special_tokens=False)]
            yield [
                (block, block)
                for at in range(0, len(ids), self.cutoff)
                if len(block := ids[at : at + self.cutoff]) > 1
            ]


def encoding_of(
    measured: Measured,
    template: Any,
    tokenizer: Any,
    settings: Mapping[str, Any],
    processor: Any = None,
) -> Encoding:
    """How the rows of this training are encoded; `settings` are the engine's."""
    data_args = DataArguments(**{name: settings[name] for name in DECIDING if name in settings})
    if measured.kind == "text":
        return OfTexts(tokenizer, data_args.cutoff_len)
    if measured.served is not None:
        how = msgspec.convert(measured.served, Served)
        return ByServer(served_encoder(tokenizer, how, "chat"), data_args)
    return ByEngine(
        WeightedProcessor(
            template=Marking(template),
            tokenizer=tokenizer,
            processor=processor,
            data_args=data_args,
        )
    )


def measure(
    model: Any, tokenizer: Any, encoding: Encoding, measured: Measured, events: Events, name: str
) -> None:
    """Keep the losses of all rows under `name` in `measured.out`; of rows with media there are
    none. That memory ran out is said, and then nothing is kept under the name."""
    parts = {part: list(read_rows(Path(path))) for part, path in measured.files.items()}
    total, done = sum(map(len, parts.values())), 0
    events.stage(f"row_losses_{name}", total, "rows")
    found: dict[str, list[RowLoss]] = {}
    path = Path(measured.out)
    known = read_json(path, ANEW) if name == "after" else {}
    known.pop(name, None)  # of an earlier end, if this training goes on
    try:
        with scoring_mode(model):
            for part, rows in parts.items():
                found[part] = _losses(model, tokenizer, encoding, rows, events, done)
                done += len(rows)
                events.progress(done, total)
    except OutOfMemory as error:
        events.note(f"no ledger: memory ran out with one row at a time ({error})")
    else:
        known[name] = found
    write_text(path, msgspec.json.encode(known).decode())


def _losses(
    model: Any, tokenizer: Any, encoding: Encoding, rows: Sequence[Row], events: Events, done: int
) -> list[RowLoss]:
    numbers = [number for number, row in enumerate(rows) if not any(media_of(row))]
    owners: list[int] = []
    sequences: list[Labelled] = []
    for number, labelled in zip(
        numbers, encoding.labelled([rows[number] for number in numbers]), strict=True
    ):
        owners += [number] * len(labelled)
        sequences += labelled
    share = len(rows) / max(1, len(sequences))

    def progress(measured: int, _: int) -> None:
        events.progress(done + int(measured * share))

    losses: list[RowLoss] = [(0.0, 0)] * len(rows)
    of_sequences = sequence_loss(model, tokenizer, sequences, events.note, progress)
    for owner, (loss, tokens) in zip(owners, of_sequences, strict=True):
        before, count = losses[owner]
        losses[owner] = (before + loss, count + tokens)
    return losses
