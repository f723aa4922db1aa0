"""Which of LLaMA-Factory's templates fits a tokenizer, and whether both render alike."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from llamafactory.data.template import TEMPLATES, ReasoningTemplate, parse_template
from llamafactory.extras.constants import DEFAULT_TEMPLATE, SUPPORTED_MODELS

from fine_tuning.engine.worker.tokens.rendering import (
    engine_text,
    own_text,
    same_rendering,
)
from fine_tuning.errors import ModelError
from fine_tuning.values.tokens import Parity, RenderingDifference

Rows = Sequence[Mapping[str, Any]]
# Whether rows hold reasoning (None: some do), by the mark that a template begins it with.
Thinking = Mapping[str, bool | None]


@dataclass(frozen=True)
class TemplateChoice:
    """The template that is trained. `name` is None for LLaMA-Factory's reading of the tokenizer's
    own chat template. `parity` is "none" where the tokenizer has no template.
    """

    name: str | None
    reason: str
    parity: Parity
    difference: RenderingDifference | None
    enable_thinking: bool | None
    others: tuple[str, ...] = ()


def _nearest(asked: str) -> str:
    found = get_close_matches(asked.lower(), TEMPLATES, n=3)
    return f" Nearest: {', '.join(found)}." if found else ""


def choose_template(
    asked: str,
    tokenizer: Any,
    model_name: str,
    model_type: str,
    rows: Rows,
    thinking: Thinking,
    *,
    seeing: bool = False,
) -> TemplateChoice:
    """Take the template that was asked for, or ("auto") the one that renders as the tokenizer does.

    `rows` are canonical sample rows; `thinking` is of all rows; `seeing`: the model has a processor
    of media. Raises ModelError for an unknown name.
    """
    if asked != "auto":
        if asked not in TEMPLATES:
            raise ModelError(
                f"LLaMA-Factory has no template named '{asked}'.{_nearest(asked)}",
                fix="leave --template out: it is then found by itself",
            )
        return _judge(asked, TEMPLATES[asked], "you chose it", tokenizer, rows, thinking)
    known = named_for(model_name)
    if not tokenizer.chat_template:
        name = known or "default"
        why = (
            f"LLaMA-Factory's template for {model_name}"
            if known
            else "the tokenizer has no chat template (a base model), so a plain one is trained"
        )
        return TemplateChoice(name, why, "none", None, thinking_of(TEMPLATES[name], thinking))
    fitting = [
        name
        for name, template in TEMPLATES.items()
        if first_difference(template, tokenizer, rows, thinking_of(template, thinking)) is None
    ]
    if fitting:
        name = (
            known
            if known is not None and known in fitting
            else min(fitting, key=lambda name: rank(name, model_type, seeing=seeing))
        )
        others = tuple(other for other in fitting if other != name)
        why = f"renders {len(rows)} sampled rows exactly as the model's own chat template"
        if others:  # several names of LLaMA-Factory's stand for the same form
            why += f" (so do {', '.join(others[:2])}{' ...' if others[2:] else ''})"
        thinks = thinking_of(TEMPLATES[name], thinking)
        return TemplateChoice(name, why, "equal", None, thinks, others)
    try:
        parsed = parse_template(tokenizer)
    except Exception as error:  # a user's jinja template can raise anything
        if known is None:
            raise ModelError(
                "No template of LLaMA-Factory renders like this model's own chat template.",
                why=f"its chat template could not be read either: {error}",
                fix="name the nearest one with --template NAME",
            ) from error
        return _judge(known, TEMPLATES[known], f"named for {model_name}", tokenizer, rows, thinking)
    return _judge(
        None, parsed, "read from the model's own chat template", tokenizer, rows, thinking
    )


def _judge(
    name: str | None, template: Any, reason: str, tokenizer: Any, rows: Rows, thinking: Thinking
) -> TemplateChoice:
    thinks = thinking_of(template, thinking)
    if not tokenizer.chat_template:
        return TemplateChoice(name, reason, "none", None, thinks)
    difference = first_difference(template, tokenizer, rows, thinks)
    return TemplateChoice(
        name, reason, "equal" if difference is None else "differs", difference, thinks
    )


def thinking_of(template: Any, thinking: Thinking) -> bool | None:
    """LLaMA-Factory's `enable_thinking` for the data; only reasoning templates look at it."""
    if not isinstance(template, ReasoningTemplate):
        return True
    return thinking.get(thought_mark(template), False)


def _prepared(template: Any, thinking: bool | None) -> Any:
    if not isinstance(template, ReasoningTemplate):
        return template
    prepared = copy.copy(template)
    prepared.enable_thinking = thinking
    return prepared


def first_difference(
    template: Any,
    tokenizer: Any,
    rows: Rows,
    thinking: bool | None,
    chat_template: str | None = None,
) -> RenderingDifference | None:
    """The first row that LLaMA-Factory and the tokenizer's own chat template render differently.

    Both texts with their token ids, and the index of the first token that differs; None if all
    rows agree. A row that the own template refuses counts as a difference. `chat_template` is the
    own one, where LLaMA-Factory has already set another in the tokenizer.
    """
    prepared = _prepared(template, thinking)
    for row in rows:
        own = own_text(tokenizer, row, _asked_to_think(template, row, thinking), chat_template)
        try:
            ours = engine_text(prepared, tokenizer, row)
        except Exception as error:  # templates raise on rows that they have no slots for
            return RenderingDifference(trained=f"({error})", served=own[1] if own else "", at=0)
        if own is None:
            refused = "(the model's chat template refuses this row)"
            return RenderingDifference(trained=ours[1], served=refused, at=0)
        if not same_rendering(ours, own):
            return token_difference(tokenizer, ours, own)
    return None


def _asked_to_think(template: Any, row: Mapping[str, Any], thinking: bool | None) -> bool | None:
    """What a server is asked for such a row; where some rows reason, those that do are asked to."""
    if not isinstance(template, ReasoningTemplate):
        return None
    return reasons(row, thought_mark(template)) if thinking is None else thinking


def token_difference(
    tokenizer: Any, ours: tuple[str, str], own: tuple[str, str]
) -> RenderingDifference:
    """Two renderings of a row that differ: their tokens, and the index of the first other one."""
    part = 0 if ours[0] != own[0] else 1
    mine = tokenizer.encode(ours[part], add_special_tokens=False)
    theirs = tokenizer.encode(own[part], add_special_tokens=False)
    at = next(
        (i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b),
        min(len(mine), len(theirs)),
    )
    return RenderingDifference(
        trained=ours[part],
        served=own[part],
        trained_tokens=_tokens(tokenizer, mine),
        served_tokens=_tokens(tokenizer, theirs),
        at=at,
        part="whole" if part else "prompt",
    )


def _tokens(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    """Some tokenizers written in Python give bytes."""
    return tuple(map(str, tokenizer.convert_ids_to_tokens(ids)))


def named_for(model_name: str) -> str | None:
    """The template that LLaMA-Factory's model list gives this Hub name, if it has one."""
    wanted = model_name.rstrip("/").lower()
    for name, sources in SUPPORTED_MODELS.items():
        if wanted in {str(path).lower() for path in sources.values()}:
            return DEFAULT_TEMPLATE.get(name) or None
    return None


# Families whose names people know: of templates that are the same, the least surprising ones.
WELL_KNOWN = ("qwen", "llama", "mistral", "gemma", "phi", "deepseek", "glm")


def rank(
    name: str, model_type: str, *, seeing: bool
) -> tuple[bool, bool, bool, bool, bool, int, str]:
    """The order of templates that render alike: for the kind of the model (for text, unless it has
    a processor of media), for its architecture, for its family, changing least, well known."""
    template = TEMPLATES[name]
    for_text = type(template.mm_plugin).__name__ == "BasePlugin"
    return (
        not for_text and not seeing,
        not name.startswith(model_type),
        not name.startswith(model_type.rstrip("0123456789._")),
        template.replace_jinja_template,
        not name.startswith(WELL_KNOWN),
        len(name),
        name,
    )


def thought_mark(template: Any) -> str:
    """What reasoning begins with in this template's answers: `<think>`, and others."""
    return str(template.thought_words[0]).strip()


def reasons(row: Mapping[str, Any], mark: str) -> bool:
    """Whether an answer of the row, or its reasoning before a tool call, begins a thought."""
    turns = row["conversations"]
    answers = [*turns[1::2], row["chosen"]] if "chosen" in row else turns[1::2]
    return any(mark in turn["value"] for turn in answers)


def thinking_in(rows: Iterable[Mapping[str, Any]]) -> Thinking:
    """By the mark that thoughts begin with: True (all rows hold one), False (none) or None (some).

    For every template's mark, as the template is not known yet.
    """
    marks = {thought_mark(t) for t in TEMPLATES.values() if isinstance(t, ReasoningTemplate)}
    counts = dict.fromkeys({"<think>", *marks}, 0)
    total = 0
    for row in rows:
        total += 1
        for mark in counts:
            counts[mark] += reasons(row, mark)
    return {mark: (None if 0 < count < total else count > 0) for mark, count in counts.items()}
