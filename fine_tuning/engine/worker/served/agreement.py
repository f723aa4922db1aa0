"""Whether LLaMA-Factory, left to encode a row by one of its templates, trains what is served."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
from llamafactory.data.template import ReasoningTemplate
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.hparams.data_args import DataArguments

from fine_tuning.engine.worker.served.encoder import Encoded
from fine_tuning.engine.worker.served.ids.pieces import Pieces
from fine_tuning.engine.worker.tokens.rendering import engine_messages

Row = Mapping[str, Any]
Ids = list[int]
UNLIMITED = 1_000_000_000


class PiecewiseTokenizer:
    """Stands in for a tokenizer inside LLaMA-Factory's templates: pieces of texts are kept."""

    def __init__(self, tokenizer: Any, pieces: Pieces, eos_token: str | None):
        self._tokenizer = tokenizer
        self._pieces = pieces
        self.bos_token_id = tokenizer.bos_token_id
        self.eos_token_id = (
            tokenizer.eos_token_id
            if eos_token is None
            else tokenizer.convert_tokens_to_ids(eos_token)
        )

    def encode(self, text: str, add_special_tokens: bool = False) -> Ids:
        """The ids of a text."""
        return list(self._pieces.whole(text))

    def convert_tokens_to_ids(self, token: str) -> int:
        """The id of one token."""
        found: int = self._tokenizer.convert_tokens_to_ids(token)
        return found


@dataclass(frozen=True)
class EngineRows:
    """Rows as LLaMA-Factory encodes them by one of its templates."""

    template: Any
    tokenizer: PiecewiseTokenizer
    processor: Any
    kind: str
    data_args: DataArguments

    def encoded(self, row: Row) -> list[tuple[Ids, Ids]]:
        """Ids and labels of its sequence (of a preference row, of both)."""
        system, tools = row.get("system") or "", row.get("tools") or ""
        turns = row["conversations"]
        if self.kind == "chat":
            processor = SupervisedDatasetProcessor(
                self.template, self.tokenizer, self.processor, self.data_args
            )
            messages = engine_messages(row)
            return [
                processor._encode_data_example(
                    messages[:-1], messages[-1:], system, tools, [], [], []
                )
            ]
        ends = [[row[name]] for name in ("chosen", "rejected")] if "chosen" in row else [[]]
        found = []
        for end in ends:
            messages = engine_messages({"conversations": [*turns, *end]})
            prompt, answer = self.template.encode_oneturn(self.tokenizer, messages, system, tools)
            if self.template.efficient_eos:
                answer = [*answer, self.tokenizer.eos_token_id]
            found.append(([*prompt, *answer], [IGNORE_INDEX] * len(prompt) + list(answer)))
        return found


def engine_rows(
    template: Any,
    tokenizer: Any,
    processor: Any,
    pieces: Pieces,
    kind: str,
    settings: Mapping[str, Any],
    thinking: bool | None,
) -> EngineRows | None:
    """How the engine would encode by a registered template; None if that adds tokens.

    `settings` are the user's words on rendering and masking (`mask_history`, `default_system` ...).
    """
    if not all(_has(tokenizer, word) for word in template.stop_words):
        return None
    prepared = copy.copy(template)
    if isinstance(template, ReasoningTemplate):
        prepared.enable_thinking = thinking
    if settings.get("default_system") is not None:
        prepared.default_system = settings["default_system"]
    eos = template.stop_words[0] if template.replace_eos and template.stop_words else None
    names = ("mask_history", "train_on_prompt")
    wishes = {name: settings[name] for name in names if name in settings}
    stand_in = PiecewiseTokenizer(tokenizer, pieces, eos)
    data_args = DataArguments(template="empty", cutoff_len=UNLIMITED, **wishes)
    return EngineRows(prepared, stand_in, processor, kind, data_args)


def _has(tokenizer: Any, token: str) -> bool:
    """Whether it is in the vocabulary, all of which would be copied to look into it: a third of a
    second with Gemma's, for each of a hundred templates."""
    if tokenizer.is_fast:
        return tokenizer.backend_tokenizer.token_to_id(token) is not None
    return token in tokenizer.get_vocab()


def agrees(
    ours: Sequence[Encoded], theirs: Sequence[tuple[Ids, Ids]], tokenizer: Any, weights: bool = True
) -> bool:
    """Whether both train the same answers behind the same ids.

    The engine may also train white space behind an answer's end, which nobody asks a model for.
    """
    if len(ours) != len(theirs):
        return False
    for one, (ids, labels) in zip(ours, theirs, strict=True):
        length = len(one.tokens)
        if ids[:length] != one.ids or not _blank(ids[length:], tokenizer):
            return False
        if weights and not _same_labels(one, ids, labels, tokenizer):
            return False
    return True


def _same_labels(one: Encoded, ids: Ids, labels: Ids, tokenizer: Any) -> bool:
    ends = {span.end for span in one.spans}
    after_end = False
    for place, (wanted, found) in enumerate(zip(one.labels(IGNORE_INDEX), labels, strict=False)):
        if wanted == found:
            after_end = False
            continue
        after_end = place in ends or after_end
        if wanted != IGNORE_INDEX or not after_end or not _blank([ids[place]], tokenizer):
            return False
    return True


def _blank(ids: Ids, tokenizer: Any) -> bool:
    return not ids or not tokenizer.decode(ids).strip()
