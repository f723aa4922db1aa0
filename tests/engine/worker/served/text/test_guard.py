"""A chat template that does not end, or that makes a text without bound, ends with one message."""

import time

import pytest

from fine_tuning.errors import ModelError
from tests.engine.worker.served.families import SPECIAL

pytestmark = pytest.mark.engine

PLAIN = "{% for m in messages %}{{ m.content }}{% endfor %}"
FOR_EVER = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}"
DOUBLED = (
    "{% set ns = namespace(text='twice as long') %}{% for i in range(40) %}"
    "{% set ns.text = ns.text ~ ns.text %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("begin", "message"),
    [(FOR_EVER, "did not come to an end"), (DOUBLED, "asks for more than")],
)
def test_a_template_without_bound_ends_with_one_message(begin: str, message: str) -> None:
    from fine_tuning.engine.worker.served.encoder import encoder_of
    from tests.models import train_tokenizer

    tokenizer = train_tokenizer(SPECIAL, "</s>")
    tokenizer.chat_template = begin + PLAIN
    began = time.monotonic()
    with pytest.raises(ModelError, match=message):
        encoder_of(tokenizer, "chat")
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "forbidden",
    ["messages.clear()", "''.__class__.__mro__", "messages[0].update(a=1)", "messages.__len__()"],
)
def test_what_the_sandbox_forbids_is_refused_every_time(forbidden: str) -> None:
    from fine_tuning.engine.worker.served.text.chat_template import ChatTemplate, Refused

    source = "{{ ''.strip() }}{{ messages[0].items() | list | length }}{{ " + forbidden + " }}"
    template = ChatTemplate(source, source, {})
    messages = [{"role": "user", "content": "Hello"}]
    for _ in range(2):
        with pytest.raises(Refused):
            template.render(messages, prompt=True)
    assert messages == [{"role": "user", "content": "Hello"}]
