"""Each trained answer stands in the context that a server sends, for every family and shape."""

import json
from typing import Any

import pytest

from tests.engine.worker.served.families import CALL, FAMILIES, SHAPES, SPECIAL, TOOL, Family, row

pytestmark = pytest.mark.engine

SAID_OF_TOOLS = "You can call these functions."


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    from tests.models import train_tokenizer

    made = {}
    for name, family in FAMILIES.items():
        tokenizer = train_tokenizer(SPECIAL, family.eos)
        tokenizer.chat_template = family.template
        if family.bos:
            tokenizer.bos_token = family.bos
        made[name] = tokenizer
    return made


def encoded(tokenizer: Any, family: Family, rows: list[Any], kind: str = "chat", **how: Any) -> Any:
    from fine_tuning.engine.worker.served.encoder import encoder_of

    encoder = encoder_of(tokenizer, kind, stops=family.stops, **how)
    assert encoder is not None
    return list(encoder.encode(rows))


def sent(family: Family, shape: str) -> list[tuple[list[dict[str, Any]], bool]]:
    """By hand: the messages that a client sends before each answer, and whether it is asked to
    think. The system prompt, tools and calls are where the family takes them."""
    one = SHAPES[shape]
    system, calls = one["system"], shape == "tools" and family.calls
    if shape == "tools" and not family.tools:
        written = json.dumps(TOOL, ensure_ascii=False)
        system = (
            "You can call these functions. To call some, answer with a JSON list of objects with "
            f"`name` and `arguments`, and nothing else.\n{written}"
        )
    messages: list[dict[str, Any]] = []
    if system and family.system:
        messages.append({"role": "system", "content": system})
    contexts = []
    for place, said in enumerate(one["conversations"]):
        role, text = said["from"], said["value"]
        if role in ("assistant", "function_call"):
            contexts.append((list(messages), shape == "reasoning"))
        if role == "user" and place == 0 and system and not family.system:
            text = f"{system}\n\n{text}"
        if role == "function_call" and calls:
            arguments: Any = CALL["arguments"]
            if family.template == FAMILIES["deepseek-r1"].template:
                text, arguments = None, json.dumps(arguments)
            function = {"name": "weather", "arguments": arguments}
            call = {"id": "123456789", "type": "function", "function": function}
            messages.append({"role": "assistant", "content": text and "", "tool_calls": [call]})
        elif role == "tool":
            as_tool = {"role": "tool", "content": text, "tool_call_id": "123456789"}
            messages.append(as_tool if calls else {"role": "user", "content": text})
        elif role in ("assistant", "function_call") and family.reasoning and "<think>" in text:
            thought, _, answer = text.removeprefix("<think>\n").partition("\n</think>\n\n")
            reasoned = {"role": "assistant", "content": answer, "reasoning_content": thought}
            messages.append(reasoned)
        else:
            messages.append({"role": "user" if role == "user" else "assistant", "content": text})
    return contexts


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_answer_stands_in_the_context_that_a_server_sends(
    tokenizers: dict[str, Any], name: str, shape: str
) -> None:
    family, tokenizer = FAMILIES[name], tokenizers[name]
    (sequences,) = encoded(tokenizer, family, [SHAPES[shape]])
    contexts = []
    for messages, thinks in sent(family, shape):
        extra = {"enable_thinking": thinks} if family.switch else {}
        tools = [TOOL] if shape == "tools" and family.tools else None
        text = tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=True, **extra
        )
        contexts.append(tokenizer.encode(text, add_special_tokens=False))
    found = [one.ids[: span.start] for one in sequences for span in one.spans]
    assert found == contexts
    for one in sequences:
        for span in one.spans:
            assert one.ids[span.end - 1] in tokenizer.convert_tokens_to_ids(
                [family.eos, *family.stops]
            )


WRITTEN = {
    ("qwen2.5", "tools"): [
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call><|im_end|>',
        "It is sunny.<|im_end|>",
    ],
    ("qwen3", "reasoning"): [
        "<think>\nIt is easy.\n</think>\n\ntwo<|im_end|>",
        "<think>\nStill easy.\n</think>\n\nfour<|im_end|>",
    ],
    ("qwen3", "single"): ["Paris.<|im_end|>"],
    ("llama3", "edges"): ["two<|eot_id|>", "4<|eot_id|>"],
    ("llama2", "system"): [" Paris. </s>", " Rome. </s>"],
    ("mistral", "system"): [" Paris.</s>", " Rome.</s>"],
    ("mistral", "edges"): [" \n\n two \n</s>", "   4</s>"],
    ("deepseek-r1", "single"): ["\n</think>\n\nParis.<|end|>"],
    ("deepseek-r1", "reasoning"): [
        "It is easy.\n</think>\n\ntwo<|end|>",
        "Still easy.\n</think>\n\nfour<|end|>",
    ],
    ("glm", "single"): ["Paris.<|user|>"],
    ("glm", "tools"): [
        '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call><|observation|>',
        "It is sunny.<|user|>",
    ],
}


@pytest.mark.parametrize(("name", "shape"), WRITTEN)
def test_what_is_trained_is_what_the_template_writes_up_to_its_end(
    tokenizers: dict[str, Any], name: str, shape: str
) -> None:
    tokenizer = tokenizers[name]
    (sequences,) = encoded(tokenizer, FAMILIES[name], [SHAPES[shape]])
    answers = [
        tokenizer.decode(one.ids[span.start : span.end]) for one in sequences for span in one.spans
    ]
    assert answers == WRITTEN[name, shape]


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("qwen2.5", "turns", 1),
        ("llama3", "turns", 1),
        ("gemma", "system", 1),
        ("glm", "turns", 1),
        ("qwen3", "reasoning", 2),
        ("mistral", "system", 2),
        ("deepseek-r1", "turns", 3),
    ],
)
def test_a_row_is_one_sequence_unless_history_is_rewritten(
    tokenizers: dict[str, Any], name: str, shape: str, count: int
) -> None:
    (sequences,) = encoded(tokenizers[name], FAMILIES[name], [SHAPES[shape]])
    assert len(sequences) == count
    (last,) = encoded(tokenizers[name], FAMILIES[name], [SHAPES[shape]], last_only=True)
    assert [len(one.spans) for one in last] == [1]
    assert last[0].ids == sequences[-1].ids


def test_an_answer_of_weight_0_is_read_and_not_trained(tokenizers: dict[str, Any]) -> None:
    one = row(("user", "a"), ("assistant", "wrong"), ("user", "b"), ("assistant", "right"))
    one["conversations"][1]["weight"] = 0
    ((sequence,),) = encoded(tokenizers["llama3"], FAMILIES["llama3"], [one])
    kept = [token for token in sequence.labels(-100) if token != -100]
    assert tokenizers["llama3"].decode(kept) == "right<|eot_id|>"
    (sequences,) = encoded(tokenizers["deepseek-r1"], FAMILIES["deepseek-r1"], [one])
    assert len(sequences) == 1  # that of the wrong answer is not kept


def test_compared_answers_follow_one_prompt(tokenizers: dict[str, Any]) -> None:
    pair = {
        **row(("user", "a")),
        "chosen": {"from": "assistant", "value": "<think>\nhm\n</think>\n\ngood"},
        "rejected": {"from": "assistant", "value": "bad"},
    }
    ((better, worse),) = encoded(tokenizers["qwen3"], FAMILIES["qwen3"], [pair], "preference")
    start = better.spans[0].start
    assert better.ids[:start] == worse.ids[: worse.spans[0].start]
    decode = tokenizers["qwen3"].decode
    assert decode(better.ids[start:]) == "<think>\nhm\n</think>\n\ngood<|im_end|>"
    assert decode(worse.ids[start:]) == "<think>\n\n</think>\n\nbad<|im_end|>"


def test_several_calls_are_made_one_by_one_where_a_template_takes_no_more(
    tokenizers: dict[str, Any],
) -> None:
    from tests.models import train_tokenizer

    tokenizer = train_tokenizer(SPECIAL, "<|im_end|>")
    tokenizer.chat_template = FAMILIES["qwen2.5"].template.replace(
        "{%- for m in messages -%}",
        "{%- for m in messages -%}{% if m.tool_calls and m.tool_calls | length > 1 %}"
        "{{ raise_exception('single calls only') }}{% endif %}",
        1,
    )
    one = row(
        ("user", "How are they?"),
        ("function_call", json.dumps([CALL, {**CALL, "arguments": {"city": "Rome"}}])),
        ("tool", "sunny\n</tool_response>\n<tool_response>\nrain"),
        ("assistant", "Sunny and rain."),
        tools=json.dumps([TOOL]),
    )
    (sequences,) = encoded(tokenizer, FAMILIES["qwen2.5"], [one])
    text = tokenizer.decode(sequences[-1].ids)
    assert text.index("Paris") < text.index("sunny") < text.index("Rome") < text.index("rain<")
    assert sum(len(sequence.spans) for sequence in sequences) == 3


@pytest.mark.parametrize("name", FAMILIES)
def test_a_reward_model_reads_the_conversation_as_its_template_writes_it(
    tokenizers: dict[str, Any], name: str
) -> None:
    """TRL and vLLM read the reward behind the new line that ends ChatML; `<|im_end|>` was trained,
    one token earlier."""
    tokenizer, family = tokenizers[name], FAMILIES[name]
    turns = [{"from": "user", "value": "Where is Rome?"}]
    said = {"chosen": "In Italy.", "rejected": "Nowhere."}
    compared = {"conversations": turns, "system": "", "tools": ""} | {
        end: {"from": "assistant", "value": text} for end, text in said.items()
    }
    (sequences,) = encoded(tokenizer, family, [compared], "preference", whole=True)
    for one, text in zip(sequences, said.values(), strict=True):
        messages = [
            {"role": "user", "content": "Where is Rome?"},
            {"role": "assistant", "content": text},
        ]
        assert one.ids == tokenizer.apply_chat_template(messages, return_dict=False)
