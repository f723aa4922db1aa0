"""Prompts and expected answers as ids: those that were trained, by the way they were encoded."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import msgspec

from fine_tuning.engine.worker.served.encoder import Encoded, Encoder
from fine_tuning.engine.worker.served.text.chat_template import Refused
from fine_tuning.engine.worker.served.text.guard import bounded
from fine_tuning.engine.worker.served.text.messages import dialogue
from fine_tuning.engine.worker.served.text.turns import Dialogues
from fine_tuning.engine.worker.served.write import served_encoder
from fine_tuning.engine.worker.tokens.rendering import engine_messages, with_answer
from fine_tuning.errors import ModelError, UsageError
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
        """Ids of everything before the last answer, and of the last answer, of each row; of a
        comparison that is the chosen one."""

    def rejected(self, rows: Sequence[Row]) -> list[Pair]:
        """Of comparisons, the same with the rejected answer behind the prompt of the chosen one."""

    def conversations(self, rows: Sequence[Row]) -> list[list[int]]:
        """Ids of whole conversations, as a reward model reads them."""


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
                engine_messages(with_answer(row)),
                row.get("system") or "",
                row.get("tools") or "",
            )
            for row in rows
        ]

    def rejected(self, rows: Sequence[Row]) -> list[Pair]:
        """Its prompts and rejected answers."""
        return self.pairs([{**row, "chosen": row["rejected"]} for row in rows])

    def conversations(self, rows: Sequence[Row]) -> list[list[int]]:
        """As llamafactory/data/processor/pairwise.py."""
        end = [self._tokenizer.eos_token_id] if self._template.efficient_eos else []
        return [[*prompt, *answer, *end] for prompt, answer in self.pairs(rows)]

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

    @property
    def dialogues(self) -> Dialogues:
        """The chat template, and what it takes."""
        return self._encoder.served

    def pairs(self, rows: Sequence[Row]) -> list[Pair]:
        """A server's prompts, and what the model then writes."""
        return [_parted(one) for (one, *_) in self._encoder.encode([*map(with_answer, rows)])]

    def rejected(self, rows: Sequence[Row]) -> list[Pair]:
        """A server's prompts, and what the model shall not write."""
        compared = Encoder(self._encoder.tokenizer, self._encoder.served, "preference")
        return [_parted(worse) for _, worse in compared.encode(rows)]

    def conversations(self, rows: Sequence[Row]) -> list[list[int]]:
        """What the template makes of all turns."""
        served = replace(self._encoder.served, whole=True)
        judging = Encoder(self._encoder.tokenizer, served, "kto")
        return [one.ids for (one,) in judging.encode([*map(with_answer, rows)])]

    def prompt(self, row: Row) -> list[int]:
        """A server's prompt. Raises UsageError if the template refuses the conversation."""
        dialogues = self.dialogues
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


def require_template(name: str, tokenizer: Any, served: Mapping[str, Any] | None) -> None:
    """Raise ModelError for a model that is to be asked by its own chat template, and has none."""
    if served is not None and not (served["chat_template"] or tokenizer.chat_template):
        raise ModelError(
            f"{name} has no chat template.",
            why="nothing says how a question is put to it",
            fix="name one of LLaMA-Factory's with --template, or take a model that was tuned to "
            "chat",
        )


def stop_ids_of(network: Any, tokenizer: Any, trained: Sequence[int]) -> list[int]:
    """The ids that end an answer where the model is served: the trained ones, and the model's."""
    ends = network.generation_config.eos_token_id  # a number, several, or none
    ends = ends if isinstance(ends, list) else [ends]
    return sorted({*trained, tokenizer.eos_token_id, *ends} - {None})


def _parted(one: Encoded) -> Pair:
    last = one.spans[-1]
    return one.ids[: last.start], one.ids[last.start : last.end]


def question_of(row: Mapping[str, Any]) -> str:
    """What was asked: one question as it is, a dialogue with who said what before."""
    turns = [(turn["from"], turn["value"]) for turn in with_answer(row)["conversations"][:-1]]
    if row.get("system"):
        turns.insert(0, ("system", row["system"]))
    if len(turns) == 1:
        return str(turns[0][1])
    return "\n\n".join(f"{role}: {text}" for role, text in turns)
