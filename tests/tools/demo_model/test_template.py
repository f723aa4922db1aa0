"""The demo model's chat template gives the tokens that LLaMA-Factory trains on."""

import json
import random
from typing import Any

import pytest

from fine_tuning.demo import model_path
from tools.demo_model.samples import make_samples

pytestmark = pytest.mark.engine
ROLES = {"system": "system", "user": "user", "assistant": "assistant", "tool": "observation"}


def conversations() -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in make_samples()["openai.jsonl"].splitlines()]
    with_tools = [row for row in rows if "tools" in row]
    return with_tools + random.Random(0).sample(rows, 60)


def engine_messages(row: dict[str, Any]) -> tuple[str, list[dict[str, str]]]:
    """The system prompt and the turns as LLaMA-Factory's template takes them."""
    system, turns = "", []
    for message in row["messages"]:
        if message["role"] == "system":
            system = message["content"]
        elif message.get("tool_calls"):
            calls = [
                {**call["function"], "arguments": json.loads(call["function"]["arguments"])}
                for call in message["tool_calls"]
            ]
            turns.append({"role": "function", "content": json.dumps(calls)})
        else:
            turns.append({"role": ROLES[message["role"]], "content": message["content"]})
    return system, turns


def tokenizer_and_template(name: str) -> tuple[Any, Any]:
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path())
    size = len(tokenizer)
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=name))
    assert len(tokenizer) == size
    return tokenizer, template


@pytest.mark.parametrize("name", ["qwen3_nothink", "chatml"])
def test_template_renders_the_same_tokens_as_llama_factory(name: str) -> None:
    from transformers import AutoTokenizer

    original = AutoTokenizer.from_pretrained(model_path())
    assert original.is_fast
    tokenizer, template = tokenizer_and_template(name)
    rows = [row for row in conversations() if name != "chatml" or "tools" not in row]
    for row in rows:
        system, turns = engine_messages(row)
        tools = row.get("tools")
        encoded = template.encode_multiturn(
            tokenizer, turns, system, json.dumps(tools) if tools else ""
        )
        trained = [i for prompt, answer in encoded for i in (*prompt, *answer)]
        text = original.apply_chat_template(row["messages"], tools=tools, tokenize=False)
        assert original.encode(text, add_special_tokens=False) == trained
        served = original.apply_chat_template(
            row["messages"], tools=tools, tokenize=True, return_dict=False
        )
        assert served == trained


def test_generation_stops_where_a_turn_ends() -> None:
    from transformers import AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(model_path())
    assert tokenizer.eos_token == "<|im_end|>"
    assert GenerationConfig.from_pretrained(model_path()).eos_token_id == tokenizer.eos_token_id
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)


def test_the_model_answers_in_sentences_before_fine_tuning() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path())
    model = AutoModelForCausalLM.from_pretrained(model_path(), dtype="float32")
    for question, answer in (
        ("What is the capital of Norway?", "The capital of Norway is Oslo."),
        ("日本的首都是什么？", "日本的首都是东京。"),
        ("What does the panda eat?", "The panda eats bamboo."),
    ):
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        ids = model.generate(**inputs)[0][inputs["input_ids"].shape[1] :]
        assert tokenizer.decode(ids, skip_special_tokens=True) == answer
