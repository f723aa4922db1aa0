"""Answers with the weight 0 have no labels; all else is encoded as LLaMA-Factory does it."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.engine

MASK = -100
MESSAGES = [
    {"role": "user", "content": "First question"},
    {"role": "assistant", "content": "a wrong answer"},
    {"role": "user", "content": "Second question"},
    {"role": "assistant", "content": "the right answer"},
    {"role": "user", "content": "Third question"},
    {"role": "assistant", "content": "one more wrong answer"},
    {"role": "user", "content": "Last question"},
    {"role": "assistant", "content": "the last right answer"},
]


def encoded(
    model: Path, name: str, weights: tuple[int, ...], **settings: Any
) -> tuple[Any, list[int], list[int], list[int]]:
    """The tokenizer; ids, labels by weight, and labels as LLaMA-Factory makes them."""
    from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams.data_args import DataArguments
    from transformers import AutoTokenizer

    from fine_tuning.engine.worker.training.weights import Marking, WeightedProcessor

    tokenizer = AutoTokenizer.from_pretrained(model)
    arguments = DataArguments(template=name, **{"cutoff_len": 10_000, **settings})
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    weighed = [
        {**message, "weight": weights[place // 2] if place % 2 else 1}
        for place, message in enumerate(MESSAGES)
    ]
    rest: tuple[Any, ...] = ("A system prompt", "", [], [], [])
    plain = SupervisedDatasetProcessor(template, tokenizer, None, arguments)
    ids, all_labels = plain._encode_data_example(MESSAGES[:-1], MESSAGES[-1:], *rest)
    ours = WeightedProcessor(Marking(template), tokenizer, None, arguments)
    own_ids, labels = ours._encode_data_example(weighed[:-1], weighed[-1:], *rest)
    assert own_ids == ids
    assert {type(number) for number in own_ids + labels} == {int}
    return tokenizer, ids, labels, all_labels


@pytest.mark.parametrize("name", ["qwen", "llama2", "alpaca", "bailing", "qwen3", "gemma"])
def test_only_answers_with_weight_one_are_trained(tiny_model: Path, name: str) -> None:
    tokenizer, _, labels, all_labels = encoded(tiny_model, name, (0, 1, 0, 1))
    trained = tokenizer.decode([label for label in labels if label != MASK])
    assert "wrong" not in trained
    assert trained.index("the right answer") < trained.index("the last right answer")
    kept = [label for label in labels if label != MASK]
    everything = [label for label in all_labels if label != MASK]
    assert 0 < len(kept) < len(everything)
    assert all(ours in (MASK, theirs) for ours, theirs in zip(labels, all_labels, strict=True))


@pytest.mark.parametrize("name", ["qwen", "bailing"])
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (0, 0, 0, 1), (1, 0, 1, 0)])
def test_each_answer_has_all_its_labels_or_none(
    tiny_model: Path, name: str, weights: tuple[int, ...]
) -> None:
    """With the token that ends it, which in some templates is the label of the one after."""
    tokenizer, _, labels, _ = encoded(tiny_model, name, weights)
    trained = [label for label in labels if label != MASK]
    assert trained.count(tokenizer.eos_token_id) == sum(weights)


@pytest.mark.parametrize("cutoff", [20, 35, 50, 70])
def test_a_cut_row_is_masked_at_the_right_place(tiny_model: Path, cutoff: int) -> None:
    tokenizer, _, labels, _ = encoded(tiny_model, "qwen", (0, 1, 0, 1), cutoff_len=cutoff)
    assert "wrong" not in tokenizer.decode([label for label in labels if label != MASK])


def test_weights_and_masked_history_go_together(tiny_model: Path) -> None:
    tokenizer, _, labels, _ = encoded(tiny_model, "qwen", (1, 1, 1, 1), mask_history=True)
    trained = tokenizer.decode([label for label in labels if label != MASK])
    assert "last right answer" in trained
    assert "wrong" not in trained


def test_rows_without_any_label_are_counted() -> None:
    from datasets import Dataset, concatenate_datasets

    from fine_tuning.engine.worker.training.encode import without_labels

    rows = [[MASK, MASK], [MASK, 5], [MASK], [7, 8, 9], [3]]
    dataset = Dataset.from_dict({"input_ids": rows, "labels": rows})
    assert without_labels(dataset) == 2
    assert without_labels(dataset.select(range(1, 3))) == 1
    assert without_labels(concatenate_datasets([dataset] * 700)) == 1400
