"""The content of one message: text, or a list of parts as OpenAI and Anthropic write them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fine_tuning.dataset.convert.dialogue.tools import to_json
from fine_tuning.dataset.convert.values import Notes, Unusable, as_text, is_blank, shown, type_name

_THOUGHTS = ("thinking", "reasoning", "reasoningText", "reasoningContent", "text", "value")
_LOCATIONS = ("url", "path", "data", "source", "uri", "fileUri", "bytes")
PLACEHOLDERS = {"images": "<image>", "videos": "<video>", "audios": "<audio>"}


@dataclass
class Content:
    """What a message says, taken apart."""

    text: str = ""
    reasoning: str = ""
    calls: list[Any] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    media: dict[str, list[Any]] = field(default_factory=dict)
    text_after_result: bool = False


def read_content(content: Any, where: str, notes: Notes) -> Content:
    """The content of a message, whichever way it is written."""
    if not isinstance(content, list):
        return Content(text=as_text(content, where, "turn_not_text", notes))
    read = Content()
    for part in content:
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, dict) and kind is None:  # Gemini, Bedrock: the key says what it is
            kind = next((key for key in part if key in _UNTYPED), None)
            reader = _UNTYPED[kind] if kind else None
        else:
            reader = _PARTS.get(kind) if isinstance(kind, str) else None
        if reader is None:
            raise Unusable(
                "content_part_unknown",
                f"{where} holds a part of an unknown type ({shown(kind or part)})",
            )
        reader(read, part, where, notes)
    return read


def read_result(content: Any, where: str, notes: Notes) -> Content:
    """The content of a tool's result: as any other, or an object, a list or true as its JSON."""
    parts = isinstance(content, list) and all(
        isinstance(part, str)
        or (isinstance(part, dict) and ("type" in part or (len(part) == 1 and "text" in part)))
        for part in content
    )
    if parts or not isinstance(content, (dict, list, bool)):
        return read_content(content, where, notes)
    notes.warn("tool_result_json", f"the result in {where} is {type_name(content)}; read as JSON")
    return Content(text=to_json(content))


def with_reasoning(text: str, reasoning: str) -> str:
    """An answer after its reasoning, as LLaMA-Factory's reasoning templates write it."""
    return (
        text if is_blank(reasoning) else f"<think>\n{reasoning.strip(chr(10))}\n</think>\n\n{text}"
    )


def as_json(written: Any, where: str) -> Mapping[str, Any]:
    """An object, also as JSON text."""
    if isinstance(written, str):
        try:
            written = msgspec.json.decode(written)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            written = None
    if not isinstance(written, dict):
        raise Unusable("tool_call_malformed", f"the tool call in {where} is no JSON object")
    return written


def _text(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
    written = part.get("text", part.get("value"))  # LLaMA-Factory's v1 form has a value
    text = as_text(written, where, "turn_not_text", notes)
    read.text_after_result |= bool(read.results) and not is_blank(text)
    read.text += text


def _thinking(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
    written = next((part[k] for k in _THOUGHTS if k in part), None)
    while isinstance(written, dict):
        written = next((written[k] for k in _THOUGHTS if k in written), None)
    read.reasoning += as_text(written, where, "turn_not_text", notes)


def _redacted(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
    notes.warn("reasoning_ignored", f"{where} has redacted (encrypted) thinking; it is left out")


def _tool_use(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
    call: Any = next(
        (part[k] for k in ("functionCall", "function_call", "toolUse") if k in part), part
    )
    if "value" in part:  # LLaMA-Factory's v1 form: the call as JSON text
        call = as_json(part["value"], where)
    arguments: Any = next(
        (call[k] for k in ("input", "args", "arguments") if call.get(k) is not None), {}
    )
    read.calls.append({"name": call.get("name"), "arguments": arguments})


def _tool_result(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
    result: Any = next(
        (part[k] for k in ("functionResponse", "function_response", "toolResult") if k in part),
        part,
    )
    content = result.get("content", result.get("response"))
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        content = content[0].get("json", content)
    inner = read_result(content, where, notes)
    read.results.append(inner.text)


def _media(column: str, *keys: str) -> Callable[[Content, Mapping[str, Any], str, Notes], None]:
    def read_part(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
        value: Any = next((part[key] for key in keys if part.get(key) is not None), None)
        while isinstance(value, dict) and not value.get("bytes"):
            value = next((value[k] for k in _LOCATIONS if value.get(k)), "")
        if value is not None:  # otherwise the file stands in the row's own column
            if not isinstance(value, (str, bytes, dict)):
                message = f"{where}: {column} part holds {type_name(value)}, not a path"
                raise Unusable("media_malformed", message)
            read.media.setdefault(column, []).append(value)
        read.text += PLACEHOLDERS[column]

    return read_part


_PARTS: Mapping[str, Callable[[Content, Mapping[str, Any], str, Notes], None]] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "reasoning": _thinking,
    "tool_call": _tool_use,
    "image": _media("images", "image", "path", "url", "source", "value"),
    "image_url": _media("images", "image_url", "value"),
    "video": _media("videos", "video", "path", "url", "value"),
    "video_url": _media("videos", "video_url", "value"),
    "audio": _media("audios", "audio", "path", "url", "value"),
    "audio_url": _media("audios", "audio_url", "value"),
}
# Parts without a type, known by a key of theirs (Gemini, Bedrock, plain {"text": ...}).
_UNTYPED: Mapping[str, Callable[[Content, Mapping[str, Any], str, Notes], None]] = {
    "functionCall": _tool_use,
    "function_call": _tool_use,
    "toolUse": _tool_use,
    "functionResponse": _tool_result,
    "function_response": _tool_result,
    "toolResult": _tool_result,
    "reasoningContent": _thinking,
    "image": _media("images", "image"),
    "image_url": _media("images", "image_url"),
    "video": _media("videos", "video"),
    "audio": _media("audios", "audio"),
    "inlineData": _media("images", "inlineData"),
    "inline_data": _media("images", "inline_data"),
    "text": _text,
}
