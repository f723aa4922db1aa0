"""Answers with the weight 0: read, and not trained. LLaMA-Factory knows no weights.

The ids of such an answer are marked where the template makes them, LLaMA-Factory's processor cuts
and joins them as ever, and then their labels are masked.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from llamafactory.data import converter, loader
from llamafactory.data.converter import SharegptDatasetConverter
from llamafactory.data.processor.supervised import (
    PackedSupervisedDatasetProcessor,
    SupervisedDatasetProcessor,
)
from llamafactory.extras.constants import IGNORE_INDEX

Encoded = tuple[list[int], list[int]]


class Untrained(int):
    """The id of a token in an answer with the weight 0."""


class Marking:
    """A template that marks the ids of the answers whose message has the weight 0."""

    def __init__(self, template: Any) -> None:
        self.marked = template

    def __getattr__(self, name: str) -> Any:
        if name == "marked":  # asked while it is unpickled
            raise AttributeError(name)
        return getattr(self.marked, name)

    def encode_multiturn(
        self, tokenizer: Any, messages: Sequence[Mapping[str, Any]], *more: Any, **named: Any
    ) -> list[Encoded]:
        """As LLaMA-Factory's `Template.encode_multiturn`."""
        pairs = self.marked.encode_multiturn(tokenizer, messages, *more, **named)
        return [
            (prompt, [*map(Untrained, answer)] if message.get("weight") == 0 else answer)
            for (prompt, answer), message in zip(pairs, messages[1::2], strict=True)
        ]


def masked(encoded: Encoded, eos: int | None) -> Encoded:
    """Ids and labels as plain numbers, without the labels of marked ids.

    `eos` ends an answer where the template has no end of its own (`efficient_eos`): there it is the
    label of the token after.
    """
    ids, labels = encoded
    kept = list(labels)
    for place, number in enumerate(ids):
        after = place > 0 and isinstance(ids[place - 1], Untrained)
        if isinstance(number, Untrained) or (after and eos is not None and labels[place] == eos):
            kept[place] = IGNORE_INDEX
    return [int(number) for number in ids], [int(label) for label in kept]


class _Weighted:
    """Before one of LLaMA-Factory's processors: what it encodes is masked by the weights."""

    def _encode_data_example(self, *example: Any, **named: Any) -> Encoded:
        encoded = super()._encode_data_example(*example, **named)  # type: ignore[misc]  # a mixin
        template, tokenizer = self.template, self.tokenizer  # type: ignore[attr-defined]  # theirs
        return masked(encoded, tokenizer.eos_token_id if template.efficient_eos else None)


class WeightedProcessor(_Weighted, SupervisedDatasetProcessor):  # type: ignore[misc]  # unchecked
    """Rows one by one; its template is a `Marking` one."""


class PackedWeightedProcessor(_Weighted, PackedSupervisedDatasetProcessor):  # type: ignore[misc]  # unchecked
    """Rows packed into blocks."""


class WeightedConverter(SharegptDatasetConverter):  # type: ignore[misc]  # unchecked
    """Canonical rows, whose messages keep their weights."""

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        aligned: dict[str, Any] = super().__call__(example)
        turns = example[self.dataset_attr.messages]
        messages = [*aligned["_prompt"], *aligned["_response"]]
        for message, turn in zip(messages, turns, strict=True):
            message["weight"] = 1 if turn["weight"] is None else turn["weight"]
        return aligned


@contextmanager
def honoured() -> Iterator[None]:
    """LLaMA-Factory's loading of datasets with the weights of their messages."""
    known = converter.DATASET_CONVERTERS["sharegpt"]
    plain = loader.SupervisedDatasetProcessor, loader.PackedSupervisedDatasetProcessor
    converter.DATASET_CONVERTERS["sharegpt"] = WeightedConverter
    loader.SupervisedDatasetProcessor = WeightedProcessor
    loader.PackedSupervisedDatasetProcessor = PackedWeightedProcessor
    try:
        yield
    finally:
        converter.DATASET_CONVERTERS["sharegpt"] = known
        loader.SupervisedDatasetProcessor, loader.PackedSupervisedDatasetProcessor = plain
