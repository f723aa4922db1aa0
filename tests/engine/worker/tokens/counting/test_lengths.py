"""Lengths counted in batches are the lengths that the trainer gets."""

from pathlib import Path

import pytest

from tests.engine.worker.served.families import row
from tests.engine.worker.tokens.looking import WITH_TOOLS

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    "name", ["qwen", "chatml", "llama2", "mistral", "alpaca", "qwen3", "gemma"]
)
def test_counts_equal_the_processor_s_ids(tiny_model: Path, name: str) -> None:
    from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams.data_args import DataArguments
    from transformers import AutoTokenizer

    from fine_tuning.engine.worker.tokens.counting.lengths import count_tokens, whole_length
    from fine_tuning.engine.worker.tokens.rendering import Rendering, engine_messages

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    arguments = DataArguments(template=name, cutoff_len=100_000)
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    processor = SupervisedDatasetProcessor(template, tokenizer, None, arguments)
    how = Rendering("chat", template, tokenizer)
    counted = list(count_tokens(how, WITH_TOOLS))
    for one, counts in zip(WITH_TOOLS, counted, strict=True):
        messages = engine_messages(one)
        ids, _ = processor._encode_data_example(
            messages[:-1], messages[-1:], one["system"], one["tools"], [], [], []
        )
        assert whole_length(how, counts) == len(ids)


def test_a_tool_call_and_its_result_belong_to_the_round_of_the_answer(tiny_model: Path) -> None:
    from llamafactory.data.template import TEMPLATES
    from transformers import AutoTokenizer

    from fine_tuning.engine.worker.tokens.counting.lengths import count_tokens
    from fine_tuning.engine.worker.tokens.rendering import Rendering

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    counted = list(count_tokens(Rendering("chat", TEMPLATES["qwen"], tokenizer), WITH_TOOLS))
    assert [len(counts) for counts in counted] == [1, 2, 1]


def test_histogram_and_percentiles_count_every_row() -> None:
    from array import array

    from fine_tuning.engine.worker.tokens.counting.lengths import histogram, percentiles

    lengths = array("I", [1, 5, 9, 100])
    assert sum(count for _, count in histogram(lengths)) == 4
    assert percentiles(lengths)["max"] == 100
    assert percentiles(lengths)["min"] == 1


@pytest.mark.parametrize("name", ["bailing", "qwen", "qwen3"])
@pytest.mark.parametrize("kind", ["preference", "kto"])
def test_the_end_of_a_preferred_answer_is_counted(tiny_model: Path, name: str, kind: str) -> None:
    """Some templates leave the eos to the processor; a row at the cutoff lost it."""
    from llamafactory.data.processor.feedback import FeedbackDatasetProcessor
    from llamafactory.data.processor.pairwise import PairwiseDatasetProcessor
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams.data_args import DataArguments
    from transformers import AutoTokenizer

    from fine_tuning.engine.worker.tokens.counting.lengths import count_tokens, whole_length
    from fine_tuning.engine.worker.tokens.rendering import Rendering, engine_messages

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    arguments = DataArguments(template=name, cutoff_len=100_000)
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    asked = row(("user", "What?"), system="S")
    good, bad = ({"from": "assistant", "value": value} for value in ("A long answer", "No"))
    prompt = engine_messages(asked)
    answers = [{"role": "assistant", "content": turn["value"]} for turn in (good, bad)]
    if kind == "preference":
        one = {**asked, "chosen": good, "rejected": bad}
        pairs = PairwiseDatasetProcessor(template, tokenizer, None, arguments)
        chosen, _, rejected, _ = pairs._encode_data_example(
            prompt, answers, one["system"], one["tools"], [], [], []
        )
        expected = max(len(chosen), len(rejected))
    else:
        one = {**asked, "conversations": [*asked["conversations"], good], "label": True}
        feedback = FeedbackDatasetProcessor(template, tokenizer, None, arguments)
        ids, *_ = feedback._encode_data_example(
            prompt, answers, answers, one["system"], one["tools"], [], [], []
        )
        expected = len(ids)
    how = Rendering(kind, template, tokenizer)
    (counts,) = count_tokens(how, [one])
    assert whole_length(how, counts) == expected
