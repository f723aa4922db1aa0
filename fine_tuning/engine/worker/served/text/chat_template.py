"""A model's chat template, rendered as servers render it: by Transformers' own code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateSyntaxError, meta
from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

from fine_tuning.engine.worker.served.text.sandbox import prepare

Message = Mapping[str, Any]
SWITCHES = ("enable_thinking", "thinking")  # names by which templates switch reasoning on and off


class Refused(Exception):
    """The template renders no such conversation; the text says why, in the template's words."""


@dataclass(frozen=True)
class ChatTemplate:
    """One model's template. `with_tools` is another where the model has one for tools.

    `tokens` are its special tokens by name, `given` what the template wants beside them.
    """

    source: str
    with_tools: str
    tokens: Mapping[str, Any]
    given: Mapping[str, Any] = field(default_factory=dict)

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Any] | None = None,
        *,
        prompt: bool,
        thinking: bool | None = None,
    ) -> str:
        """The conversation as text; with `prompt` it ends where the model's answer begins.

        `thinking` sets the template's switches. Raises Refused for what the template does not take.
        """
        source = self.with_tools if tools else self.source
        prepare(source)
        named = {**self.tokens, **self.given}
        if thinking is not None:
            named |= dict.fromkeys(SWITCHES, thinking)
        if tools:
            named["tools"] = list(tools)
        try:
            rendered, _ = render_jinja_template(
                [messages], chat_template=source, add_generation_prompt=prompt, **named
            )
        except MemoryError:
            raise
        except Exception as error:  # a template raises anything
            raise Refused(str(error) or type(error).__name__) from error
        text: str = rendered[0]
        return text

    @property
    def switches(self) -> frozenset[str]:
        """The switches of reasoning that the template reads."""
        try:
            environment = _compile_jinja_template(self.source).environment
            read = meta.find_undeclared_variables(environment.parse(self.source))
        except TemplateSyntaxError:
            return frozenset()
        return frozenset(SWITCHES) & read


def template_of(tokenizer: Any, source: str | None = None) -> ChatTemplate | None:
    """The tokenizer's own template, or `source` in its place; None if there is neither."""
    tokens = dict(tokenizer.special_tokens_map)
    if source is not None:
        return ChatTemplate(source, source, tokens)
    if not tokenizer.chat_template:
        return None
    plain = tokenizer.get_chat_template()
    return ChatTemplate(plain, tokenizer.get_chat_template(tools=[{}]), tokens)
