"""The chat template that goes out with the trained model: the trained one, if it can be written."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fine_tuning.engine.worker.tokens.rendering import engine_text, own_text, same_rendering
from fine_tuning.engine.worker.tokens.template import (
    TemplateChoice,
    first_difference,
    token_difference,
)
from fine_tuning.values.tokens import TemplateLook

Rows = Sequence[Mapping[str, Any]]


def own_template(tokenizer: Any) -> str | None:
    """The tokenizer's own chat template; of several that it names, the one for plain chat."""
    found = tokenizer.chat_template
    return found.get("default") if isinstance(found, dict) else found


def confirmed(
    choice: TemplateChoice, template: Any, tokenizer: Any, own: str | None, rows: Rows
) -> TemplateChoice:
    """The choice with its parity on all of `rows`, by the template as it is trained.

    It was chosen on the first rows, before the user's system prompt and tool format were set.
    """
    if choice.parity != "equal":
        return choice
    difference = first_difference(template, tokenizer, rows, choice.enable_thinking, own)
    if difference is None:
        return choice
    return replace(
        choice,
        parity="differs",
        difference=difference,
        reason="renders some rows as the model's own chat template, not all",
    )


def shipping(
    choice: TemplateChoice, template: Any, tokenizer: Any, own: str | None, rows: Rows
) -> TemplateLook:
    """The choice with the trained template as a chat template, and whether it is the one to ship.

    It is not, with the reason in `unwritten`, if what LLaMA-Factory writes does not render these
    rows as it trained them: it knows no tools, no tool calls and no empty reasoning. `own` is the
    model's own.
    """
    kept = TemplateLook(
        name=choice.name,
        reason=choice.reason,
        parity=choice.parity,
        difference=choice.difference,
        enable_thinking=choice.enable_thinking,
        others=choice.others,
        jinja=None,
        own=own,
        shipped=None,
        unwritten=None,
    )
    if choice.parity == "equal" or not rows:
        return kept
    try:
        written = str(template._get_jinja_template(tokenizer))
    except ValueError:  # it has tokens by name, which LLaMA-Factory cannot write as text
        unwritten: str | None = "LLaMA-Factory cannot write it as one"
    else:
        unwritten = _unlike(template, tokenizer, written, rows)
    if unwritten is None:
        return replace(kept, jinja=written, shipped=True)
    return replace(kept, shipped=False, unwritten=unwritten)


def _unlike(template: Any, tokenizer: Any, written: str, rows: Rows) -> str | None:
    """How a written template renders another text than was trained; None if it does not."""
    for row in rows:
        trained = engine_text(template, tokenizer, row)
        text = own_text(tokenizer, row, None, written)
        if text is None:
            return "what LLaMA-Factory writes of it refuses some of these rows"
        if same_rendering(trained, text):
            continue
        if row.get("tools") or any(t["from"] == "function_call" for t in row["conversations"]):
            return "what LLaMA-Factory writes of it leaves out tools and tool calls"
        mine, theirs = token_difference(tokenizer, trained, text).beside
        return (
            "what LLaMA-Factory writes of it renders these rows otherwise "
            f"({mine} was trained, it has {theirs})"
        )
    return None
