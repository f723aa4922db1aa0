"""Chat templates rendered as Transformers renders them."""

from collections.abc import Callable

from jinja2 import Environment

from fine_tuning.ship.conversations import Chat


def by_jinja(template: str) -> Callable[[Chat], str | None]:
    """The prompt of a conversation; None: the template refuses it."""
    compiled = Environment(trim_blocks=True, lstrip_blocks=True).from_string(template)

    def refuse(why: str) -> None:
        raise ValueError(why)

    def render(chat: Chat) -> str | None:
        given = {"bos_token": "<s>", "eos_token": "</s>", "raise_exception": refuse}
        try:
            return compiled.render(messages=chat, add_generation_prompt=True, **given)
        except ValueError:
            return None

    return render
