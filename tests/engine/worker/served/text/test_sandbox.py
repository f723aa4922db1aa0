"""A sandbox that remembers what it allows answers as one that does not."""

from typing import Any

import pytest

from tests.engine.worker.served.families import CALL, FAMILIES, TOOL

pytestmark = pytest.mark.engine

CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "123456789", "type": "function", "function": CALL}],
}
MESSAGES = [
    {"role": "user", "content": " One "},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\ntwo", "reasoning_content": "hm"},
    {"role": "user", "content": "three"},
    CALLED,
    {"role": "tool", "content": "sunny", "tool_call_id": "123456789"},
]
OTHERS = [
    "{{ messages[0].content.strip().split('n')[-1].upper() }}",
    "{{ messages[0].nothing is defined }} {{ messages[0].items() | list }} {{ messages.nothing }}",
    "{{ ', '.join(messages | map(attribute='role')) }} {{ 'a' in messages[0].content.lower() }}",
    "{% for m in messages %}{{ loop.index0 }}{{ loop.previtem.role }}{{ loop.cycle(1, 2) }}"
    "{{ loop.nothing }}{% endfor %}",
    "{% set ns = namespace(f='{0.__class__}'.format, d={'x': 1}) %}{{ ns.f(1) }}{{ ns.d.x }}",
    "{{ '{0.__class__}'.format(messages) }}",
    "{{ '{x.__init__}'.format_map({'x': ns}) }}",
    "{% set f = 'a{}'.format %}{{ f(1) }} {{ 'b{}'.format(2) }}",
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'role': 'x'}) }}",
    "{{ messages[0].pop('role') }}",
    "{{ messages[0].__class__ }}",
    "{{ messages[0].role.nothing.more }}",
    "{{ range(3) | list }}{{ raise_exception('no') }}",
    "{{ strftime_now('%%') }}{{ messages[0]['content'].startswith(' O') }}",
    "{% macro one(a, b=2) %}{{ a }}{{ b }}{{ caller() if caller }}{% endmacro %}"
    "{{ one('x') }}{% call one('y', b='z') %}{{ 'q'.upper() }}{% endcall %}",
    "{{ messages[0].content.encode().decode() }}{{ messages[0].content.join(tools) }}",
]


def answer(template: Any, messages: list[Any]) -> str:
    given = {"messages": messages, "tools": [TOOL], "bos_token": "<s>", "eos_token": "</s>"}
    try:
        return str(template.render(**given, add_generation_prompt=True))
    except Exception as error:  # a template raises anything
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("source", [*(one.template for one in FAMILIES.values()), *OTHERS])
def test_a_template_says_the_same_with_and_without_the_memory(source: str) -> None:
    from transformers.utils.chat_template_utils import _compile_jinja_template as compiled

    from fine_tuning.engine.worker.served.text.sandbox import prepare

    plain = compiled.__wrapped__(source)
    prepare(source)
    remembering = compiled(source)
    assert plain.environment.getattr != remembering.environment.getattr
    for _ in range(2):  # the second time it remembers
        for end in range(1, len(MESSAGES) + 1):
            messages = MESSAGES[:end]
            assert answer(remembering, messages) == answer(plain, messages)
