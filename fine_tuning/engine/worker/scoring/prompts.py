"""Prompts and expected answers as ids: those that were trained, by the way they were encoded."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from fine_tuning.engine.worker.served.chat_template import Refused
from fine_tuning.engine.worker.served.encoder import Encoder
from fine_tuning.engine.worker.served.guard import bounded
from fine_tuning.engine.worker.served.messages import dialogue
from fine_tuning.engine.worker.served.write import served_encoder
from fine_tuning.engine.worker.tokens.rendering import engine_messages
from fine_tuning.errors import UsageError
from fine_tuning.values.tokens import Served

Row = Mapping[str, Any]
Pair = tuple[list[int], list[int]]


class Questions(Protocol):
    """How a model is asked, and what ends an answer."""

    stop_ids: Sequence[int]

    def prompt(self, row: Row) -> list[int]:
        """Ids of a row that ends with a question, up to where the model's answer begins."""


class Prompts(Questions, Protocol):
    """What a row asks, and what is expected."""

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

    def prompt(self, row: Row) -> list[int]:
        """As LLaMA-Factory's own chat makes it (llamafactory/chat/hf_engine.py)."""
        awaited = {"from": "assistant", "value": ""}
        ((ids, _),) = self.pairs([{**row, "conversations": [*row["conversations"], awaited]}])
        return ids


class OfServer:
    """By the chat template that a server uses."""

    def __init__(self, encoder: Encoder, served: Served):
        self._encoder, self._served = encoder, served
        self.stop_ids: Sequence[int] = served.stop_ids

    def pairs(self, rows: Sequence[Row]) -> list[Pair]:
        """A server's prompts, and what the model then writes."""
        encoded = self._encoder.encode([*map(_answered, rows)])
        return [
            (one.ids[: one.spans[-1].start], one.ids[one.spans[-1].start : one.spans[-1].end])
            for (one, *_) in encoded
        ]

    def prompt(self, row: Row) -> list[int]:
        """A server's prompt. Raises UsageError if the template refuses the conversation."""
        dialogues = self._encoder.served
        talk = dialogue(row, dialogues.able, self._served.default_system)
        try:
            with bounded():
                text = dialogues.template.render(
                    talk.messages, talk.tools, prompt=True, thinking=self._served.thinking
                )
        except Refused as error:
            raise UsageError(
                f"The model's chat template refuses this conversation: {error}",
                fix="leave the system prompt out, or begin a new one (/clear)",
            ) from error
        return self._encoder.pieces.whole(text)


class OfDocuments:
    """Of a model that was trained on text: it goes on from the last text, without a template."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        self.stop_ids: Sequence[int] = ()

    def prompt(self, row: Row) -> list[int]:
        """The ids of the text, behind the token that begins all texts."""
        bos = self._tokenizer.bos_token_id
        text = row["conversations"][-1]["value"]
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        return ids if bos is None else [bos, *ids]


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
