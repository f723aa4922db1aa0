"""What a chat template makes of a conversation, as text, before any tokenizer sees it.

LLaMA-Factory's templates build token ids piece by piece through a tokenizer. Handing them a
stand-in whose "ids" are the pieces themselves runs LLaMA-Factory's own template code and gives
the text of each turn; the pieces can then be tokenized in batches.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shape = tuple[bool, bool, bool, bool, bool, bool]

ENGINE_ROLES = {
    "user": "user",
    "assistant": "assistant",
    "tool": "observation",
    "function_call": "function",
}


@dataclass(frozen=True)
class Rendering:
    """What makes tokens of rows: their kind, LLaMA-Factory's template, tokenizer and processor.

    The processor (of media) is None for models of text.
    """

    kind: str
    template: Any
    tokenizer: Any
    processor: Any = None


class SpecialPiece(str):
    """One special token: always a single id."""

    __slots__ = ()


class PieceTokenizer:
    """Stands in for a tokenizer inside `Template.encode_multiturn`; its ids are pieces of text."""

    def __init__(self, bos_token: str | None, eos_token: str | None) -> None:
        self.bos_token_id = None if bos_token is None else SpecialPiece(bos_token)
        self.eos_token_id = None if eos_token is None else SpecialPiece(eos_token)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[str]:
        """The text itself, as the one piece."""
        return [text] if text else []

    def convert_tokens_to_ids(self, token: str) -> SpecialPiece:
        """A named token is a piece of its own."""
        return SpecialPiece(token)


def engine_messages(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The turns of a canonical row with LLaMA-Factory's role names."""
    return [
        {"role": ENGINE_ROLES[turn["from"]], "content": turn["value"]}
        for turn in row["conversations"]
    ]


def is_trained(turn: Mapping[str, Any]) -> bool:
    """Whether an answer has not the weight 0."""
    return turn.get("weight") != 0


def with_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """A preference row as a chat row that ends with the chosen answer."""
    if "chosen" not in row:
        return dict(row)
    return {**row, "conversations": [*row["conversations"], row["chosen"]]}


def piece_tokenizer(template: Any, tokenizer: Any) -> PieceTokenizer:
    """The stand-in for `tokenizer` as it will be once `template` has fixed its eos token."""
    replaced = template.replace_eos and template.stop_words
    eos = template.stop_words[0] if replaced else tokenizer.eos_token
    return PieceTokenizer(tokenizer.bos_token, eos or "<|endoftext|>")


def engine_rounds(template: Any, pieces: PieceTokenizer, row: Mapping[str, Any]) -> list[Any]:
    """LLaMA-Factory's (prompt pieces, response pieces) of each round of a chat row."""
    return list(
        template.encode_multiturn(
            pieces, engine_messages(row), row.get("system") or "", row.get("tools") or ""
        )
    )


def engine_text(template: Any, tokenizer: Any, row: Mapping[str, Any]) -> tuple[str, str]:
    """The row as LLaMA-Factory renders it: (everything before the last response, all of it)."""
    rounds = engine_rounds(template, piece_tokenizer(template, tokenizer), row)
    flat = ["".join(prompt) + "".join(response) for prompt, response in rounds[:-1]]
    before = "".join(flat) + "".join(rounds[-1][0])
    return before, before + "".join(rounds[-1][1])


def own_messages(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The turns of a canonical row as `apply_chat_template` wants them."""
    messages: list[dict[str, Any]] = []
    if row.get("system"):
        messages.append({"role": "system", "content": row["system"]})
    for turn in row["conversations"]:
        if turn["from"] == "function_call":
            thought, written = _thought_and_calls(turn["value"])
            calls = json.loads(written)
            calls = calls if isinstance(calls, list) else [calls]
            messages.append(
                {
                    "role": "assistant",
                    "content": thought,
                    "tool_calls": [{"type": "function", "function": call} for call in calls],
                }
            )
        else:
            messages.append({"role": turn["from"], "content": turn["value"]})
    return messages


def _thought_and_calls(value: str) -> tuple[str, str]:
    """A tool call's turn: the reasoning before the JSON, and the JSON."""
    if not value.lstrip().startswith("<think>"):
        return "", value
    thought, end, calls = value.partition("</think>")
    return thought + end, calls


def own_text(
    tokenizer: Any,
    row: Mapping[str, Any],
    enable_thinking: bool | None,
    chat_template: str | None = None,
) -> tuple[str, str] | None:
    """The row by `chat_template` (None: the tokenizer's own): (prompt with generation prompt, all
    of it).

    None if the template refuses it (some allow no system turn or no tools).
    """
    messages = own_messages(row)
    extra: dict[str, Any] = {} if chat_template is None else {"chat_template": chat_template}
    if enable_thinking is not None:
        extra["enable_thinking"] = enable_thinking
    tools = json.loads(row["tools"]) if row.get("tools") else None
    try:
        prompt = tokenizer.apply_chat_template(
            messages[:-1], tools=tools, tokenize=False, add_generation_prompt=True, **extra
        )
        whole = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, **extra)
    except Exception:  # a user's jinja template can raise anything
        return None
    return prompt, whole


def same_rendering(ours: tuple[str, str], own: tuple[str, str]) -> bool:
    """Equal prompts, and equal wholes but for white space after the last turn.

    The prompt must agree to the letter: it is what a server will send.
    """
    return ours[0] == own[0] and ours[1].rstrip() == own[1].rstrip()


def row_shape(row: Mapping[str, Any]) -> Shape:
    """With or without system, tools, calls, reasoning, several rounds, white space around a text:
    what templates differ in."""
    turns = row["conversations"]
    called = any(turn["from"] == "function_call" for turn in turns)
    reasoned = any("<think>" in turn["value"] for turn in turns)
    edged = any(turn["value"] != turn["value"].strip() for turn in turns)
    return bool(row.get("system")), bool(row.get("tools")), called, reasoned, len(turns) > 2, edged


def watched(
    rows: Iterable[Mapping[str, Any]], first_of_shape: dict[Shape, Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """The same rows; the first of each shape is kept."""
    for row in rows:
        first_of_shape.setdefault(row_shape(row), row)
        yield row


def sample_rows(rows: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """A few rows that differ in shape."""
    by_shape: dict[Shape, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_shape.setdefault(row_shape(row), []).append(row)
    chosen: list[Mapping[str, Any]] = []
    for i in range(most):
        for shaped in by_shape.values():
            if i < len(shaped) and len(chosen) < most:
                chosen.append(shaped[i])
    return chosen
