"""Chat templates of eight kinds of families, and rows of six shapes with what a client would send.

The templates are written here, each with what makes its family hard to train.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "[INST]", "[/INST]"),
    *("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "[CALLS]"),
    *("<bos>", "<start_of_turn>", "<end_of_turn>", "<|User|>", "<|Assistant|>", "<|end|>"),
    *("[gMASK]", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
]

# tools and calls, a system prompt of its own where the row has none
QWEN25 = """\
{%- if tools -%}<|im_start|>system
{{ messages[0].content if messages[0].role == 'system' else 'You are helpful.' }}

# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% else -%}<|im_start|>system
{{ messages[0].content if messages[0].role == 'system' else 'You are helpful.' }}<|im_end|>
{% endif -%}
{%- for m in messages -%}{%- if m.role == 'tool' -%}
<|im_start|>user
<tool_response>{{ m.content }}</tool_response><|im_end|>
{% elif m.role != 'system' or not loop.first -%}
<|im_start|>{{ m.role }}
{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
# history loses its reasoning; without thinking the prompt holds an empty block
QWEN3 = """\
{%- set ns = namespace(last=-1) -%}{% for m in messages %}{% if m.role == 'user' %}\
{% set ns.last = loop.index0 %}{% endif %}{% endfor -%}
{%- if tools %}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}{% endfor %}<|im_end|>
{% endif -%}
{%- for m in messages -%}<|im_start|>{{ 'user' if m.role == 'tool' else m.role }}
{% if m.role == 'assistant' and loop.index0 > ns.last and (loop.last or m.reasoning_content) -%}
{{ '<think>\\n' + (m.reasoning_content or '').strip('\\n') + '\\n</think>\\n\\n' }}{% endif -%}
{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>\
{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}\
{% endif %}{% endif %}"""
# trims, begins with a token, takes neither tools nor calls
LLAMA3 = """\
{{- bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}\
<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""
# the system prompt inside the first turn; roles must alternate
LLAMA2 = """\
{%- if messages[0].role == 'system' %}{% set system = messages[0].content %}\
{% set messages = messages[1:] %}{% endif -%}
{%- for m in messages -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif -%}
{%- if m.role == 'user' %}{{ bos_token + '[INST] ' + ('<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' \
if loop.first and system is defined else '') + m.content.strip() + ' [/INST]' }}
{%- else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif -%}
{%- endfor -%}"""
# the system prompt before the last turn: history is written anew; ids of nine letters
MISTRAL = """\
{%- if messages[0].role == 'system' %}{% set system = messages[0].content %}\
{% set messages = messages[1:] %}{% endif -%}
{{- bos_token }}{% for m in messages -%}
{%- if m.role == 'user' %}{{ '[INST]' + (system + '\\n\\n' if loop.last and system is defined \
else '') + m.content + '[/INST]' }}
{%- elif m.role == 'tool' %}{{ '[RESULT]' + m.content + '[/RESULT]' }}
{%- elif m.tool_calls %}{{ '[CALLS]' }}{% for c in m.tool_calls %}\
{% if c.id | length != 9 %}{{ raise_exception('Tool call IDs must be nine letters') }}{% endif %}\
{{ c.function | tojson }}{% endfor %}{{ eos_token }}
{%- else %}{{ ' ' + m.content + eos_token }}{% endif -%}
{%- endfor -%}"""
# refuses a system turn
GEMMA = """\
{{- bos_token }}{% if messages[0].role == 'system' %}\
{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif -%}
<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content | trim }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""
# the prompt opens reasoning, history drops it; calls without text, arguments as text
DEEPSEEK = """\
{{- bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% endif %}\
{% endfor %}{% for m in messages -%}
{%- if m.role == 'user' %}{{ '<|User|>' + m.content }}
{%- elif m.role == 'tool' %}{{ '<|User|>output: ' + m.content }}
{%- elif m.content is none %}{{ '<|Assistant|>' }}{% for c in m.tool_calls %}\
{{ c.function.name + '\\n```json\\n' + c.function.arguments + '\\n```' }}{% endfor %}{{ '<|end|>' }}
{%- elif m.role == 'assistant' %}{{ '<|Assistant|>' + m.content.split('</think>')[-1] + '<|end|>' }}
{%- endif -%}
{%- endfor %}{% if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}"""
# nothing ends an answer but the header of the next turn
GLM = """\
[gMASK]{% if tools %}<|system|>{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}\
{% for m in messages %}{{ '<|observation|>' if m.role == 'tool' else '<|' + m.role + '|>' }}
{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>\
{% endfor %}{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""


@dataclass(frozen=True)
class Family:
    """A chat template, the token that ends a text, other stops, and what it does not take."""

    template: str
    eos: str
    bos: str | None = None
    stops: tuple[str, ...] = ()
    system: bool = True
    tools: bool = True
    calls: bool = True
    switch: bool = False
    reasoning: bool = False
    call: Mapping[str, Any] = field(default_factory=dict)


FAMILIES = {
    "qwen2.5": Family(QWEN25, "<|im_end|>"),
    "qwen3": Family(QWEN3, "<|im_end|>", switch=True, reasoning=True),
    "llama3": Family(LLAMA3, "<|eot_id|>", "<|begin_of_text|>", tools=False, calls=False),
    "llama2": Family(LLAMA2, "</s>", "<s>", tools=False, calls=False),
    "mistral": Family(MISTRAL, "</s>", "<s>", tools=False),
    "gemma": Family(GEMMA, "<end_of_turn>", "<bos>", system=False, tools=False, calls=False),
    "deepseek-r1": Family(DEEPSEEK, "<|end|>", "<s>", tools=False),
    "glm": Family(GLM, "<|endoftext|>", stops=("<|user|>", "<|observation|>")),
}

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {"name": "weather", "arguments": {"city": "Paris"}}


def turn(role: str, value: str) -> dict[str, str]:
    """One turn of a canonical row."""
    return {"from": role, "value": value}


def row(*turns: tuple[str, str], system: str = "", tools: str = "") -> dict[str, Any]:
    """A canonical row."""
    return {"conversations": [turn(*one) for one in turns], "system": system, "tools": tools}


SHAPES: dict[str, dict[str, Any]] = {
    "single": row(("user", "What is the capital?"), ("assistant", "Paris.")),
    "system": row(
        ("user", "What is the capital?"),
        ("assistant", "Paris."),
        ("user", "Of Italy?"),
        ("assistant", "Rome."),
        system="Be brief.",
    ),
    "turns": row(
        ("user", "One"),
        ("assistant", "two"),
        ("user", "three"),
        ("assistant", "four"),
        ("user", "five"),
        ("assistant", "six"),
    ),
    "edges": row(
        ("user", "\n One  "), ("assistant", "\n\n two \n"), ("user", " three"), ("assistant", "  4")
    ),
    "reasoning": row(
        ("user", "One"),
        ("assistant", "<think>\nIt is easy.\n</think>\n\ntwo"),
        ("user", "three"),
        ("assistant", "<think>\nStill easy.\n</think>\n\nfour"),
    ),
    "tools": row(
        ("user", "How is Paris?"),
        ("function_call", json.dumps([CALL])),
        ("tool", "sunny"),
        ("assistant", "It is sunny."),
        tools=json.dumps([TOOL]),
    ),
}
