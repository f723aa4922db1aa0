"""Prompts and expected answers as ids: those that were trained, by the way they were encoded."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from fine_tuning.engine.worker.served.encoder import Encoder
from fine_tuning.engine.worker.served.write import served_encoder
from fine_tuning.engine.worker.tokens.rendering import engine_messages
from fine_tuning.values.tokens import Served

Row = Mapping[str, Any]
Pair = tuple[list[int], list[int]]


class Prompts(Protocol):
    """What a row asks, and what ends an answer."""

    stop_ids: Sequence[int]

    def pairs(self, rows: Sequence[Row]) -> list[Pair]:
        """Ids of everything before the last answer, and of the last answer, of each row."""


class OfEngine:
    """By LLaMA-Factory's template."""

    def __init__(self, template: Any, tokenizer: Any):
        self._template, self._tokenizer = template, tokenizer
        self.stop_ids: Sequence[int] = template.get_stop_token_ids(tokenizer)

    def pairs(self, rows: Sequence[Row]) -> list[Pair]:
        """Its prompts and answers."""
        return [
            self._template.encode_oneturn(
                self._tokenizer,
                engine_messages(row),
                row.get("system") or "",
                row.get("tools") or "",
            )
            for row in rows
        ]


class OfServer:
    """By the chat template that a server uses."""

    def __init__(self, encoder: Encoder, served: Served):
        self._encoder = encoder
        self.stop_ids: Sequence[int] = served.stop_ids

    def pairs(self, rows: Sequence[Row]) -> list[Pair]:
        """A server's prompts, and what the model then writes."""
        encoded = self._encoder.encode([*map(_answered, rows)])
        return [
            (one.ids[: one.spans[-1].start], one.ids[one.spans[-1].start : one.spans[-1].end])
            for (one, *_) in encoded
        ]


def prompts_of(template: Any, tokenizer: Any, served: Mapping[str, Any] | None) -> Prompts:
    """The prompts of a training; `served` says how its rows were encoded ahead."""
    if served is None:
        return OfEngine(template, tokenizer)
    how = msgspec.convert(served, Served)
    return OfServer(served_encoder(tokenizer, how, "kto"), how)  # of which the last answer counts


def _answered(row: Row) -> Row:
    """A comparison with its better answer."""
    if "chosen" not in row:
        return row
    return {**row, "conversations": [*row["conversations"], row["chosen"]]}
