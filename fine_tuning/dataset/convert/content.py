"""The content of one message: text, or a list of parts as OpenAI and Anthropic write them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fine_tuning.dataset.convert.tools import to_json
from fine_tuning.dataset.convert.values import Notes, Unusable, as_text, is_blank, shown, type_name

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
        isinstance(part, str) or (isinstance(part, dict) and "type" in part) for part in content
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


def _text(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
    text = as_text(part.get("text"), where, "turn_not_text", notes)
    read.text_after_result |= bool(read.results) and not is_blank(text)
    read.text += text


def _thinking(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
    read.reasoning += as_text(part.get("thinking"), where, "turn_not_text", notes)


def _redacted(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
    notes.warn("reasoning_ignored", f"{where} has redacted (encrypted) thinking; it is left out")


def _tool_use(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
    read.calls.append({"name": part.get("name"), "arguments": part.get("input")})


def _tool_result(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
    inner = read_result(part.get("content"), where, notes)
    read.results.append(inner.text)


def _media(column: str, *keys: str) -> Callable[[Content, Mapping[str, Any], str, Notes], None]:
    def read_part(read: Content, part: Mapping[str, Any], where: str, notes: Notes) -> None:
        value: Any = next((part[key] for key in keys if part.get(key) is not None), None)
        while isinstance(value, dict):
            value = next((value[k] for k in ("url", "path", "data") if value.get(k)), "")
        if value is not None:  # otherwise the file stands in the row's own column
            if not isinstance(value, str):
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
    "image": _media("images", "image", "path", "url", "source"),
    "image_url": _media("images", "image_url"),
    "video": _media("videos", "video", "path", "url"),
    "video_url": _media("videos", "video_url"),
    "audio": _media("audios", "audio", "path", "url"),
    "audio_url": _media("audios", "audio_url"),
}
