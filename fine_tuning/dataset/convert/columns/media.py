"""Images, videos and audios of a row: the files are there, and each has its mark in the text."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning.dataset.convert.canonical import Turn
from fine_tuning.dataset.convert.columns.media_bytes import data_of_text, saved
from fine_tuning.dataset.convert.dialogue.content import PLACEHOLDERS
from fine_tuning.dataset.convert.values import Notes, Unusable, as_list, shown
from fine_tuning.dataset.recognise.formats import MEDIA_COLUMNS


def read_media(
    fields: Mapping[str, Any],
    parts: Mapping[str, list[Any]],
    turns: Sequence[Turn],
    notes: Notes,
) -> dict[str, list[str]]:
    """Absolute paths by column, for the columns that the row has.

    `parts` are the files that message parts brought along; `turns` is everything that may hold
    a placeholder: where none does, the marks are written before the first turn. Raises Unusable if
    a file is missing or the numbers differ.
    """
    found: dict[str, list[str]] = {}
    written = [turn.value for turn in turns]
    if not parts and not any(column in fields for column in MEDIA_COLUMNS):
        if any("<" in text for text in written):
            _count_placeholders(found, written, notes)
        return found
    for column in MEDIA_COLUMNS:
        listed = as_list(fields.get(column), column, notes)
        if listed is None or listed == "":
            listed = []
        if isinstance(listed, (str, dict)):
            listed = [listed]
        if not isinstance(listed, list):
            raise Unusable("media_malformed", f"{column} is {shown(listed)}; expected a list")
        paths = [*listed, *parts.get(column, ())]
        if paths:
            found[column] = [_existing(path, column, notes) for path in paths]
    written = _with_marks(found, turns, notes)
    _count_placeholders(found, written, notes)
    return found


def _with_marks(found: Mapping[str, list[str]], turns: Sequence[Turn], notes: Notes) -> list[str]:
    """The texts of the turns; files that none of them marks are marked before the first turn."""
    marks = ""
    for column, files in found.items():
        mark = PLACEHOLDERS[column]
        if turns and files and not any(mark in turn.value for turn in turns):
            marks += mark * len(files)
            notes.warn(
                "media_marked", f"{mark} written before the first turn, for {len(files)} files"
            )
    if marks:
        turns[0].value = (marks + "\n" + turns[0].value).rstrip("\n")
    return [turn.value for turn in turns]


def has_placeholder(text: str) -> bool:
    """Whether a text holds the mark of a file."""
    return any(mark in text for mark in PLACEHOLDERS.values())


def _existing(path: Any, column: str, notes: Notes) -> str:
    if isinstance(path, str) and (data := data_of_text(path)) is not None:
        return saved(data, column, "", notes)
    if isinstance(path, (bytes, bytearray)):
        return saved(bytes(path), column, "", notes)
    if isinstance(path, dict):
        data = path.get("bytes")
        path = path.get("path") or path.get("url") or ""
        if isinstance(data, str):
            data = data_of_text(data)
        if data:
            return saved(bytes(data), column, str(path), notes)
    if not isinstance(path, str) or not path or "\0" in path:
        raise Unusable("media_malformed", f"{column} holds {shown(path)}; expected a path")
    if path.startswith(("http:", "https:", "data:")):
        raise Unusable(
            "media_missing", f"{column}: {shown(path)} is not a local file; save it first"
        )
    full = (notes.media_root / path.removeprefix("file://")).absolute()
    try:
        size = full.stat().st_size if full.is_file() else None
    except OSError:
        size = None
    if size is None:
        message = f"{column}: {shown(path, 80)} was not found in {notes.media_root}"
        raise Unusable("media_missing", message)
    if not size or (column == "images" and not _begins_as_image(full)):
        what = "no image" if size else "empty"
        raise Unusable("media_unreadable", f"{column}: {shown(path, 80)} is {what}")
    return str(full)


def _begins_as_image(path: Path) -> bool:
    """Whether the file begins as one; the pixels are read with the model's processor only."""
    from PIL import Image  # not needed for rows of text

    try:
        with Image.open(path):
            return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def refuse_answers_with_media(
    answers: Iterable[str], found: Mapping[str, list[str]], notes: Notes
) -> None:
    """Raise Unusable for a file in an answer of a pair: the engine counts them with the prompt of
    either answer."""
    for column, mark in PLACEHOLDERS.items():
        if not any(mark in answer for answer in answers):
            continue
        if found:
            raise Unusable("media_count", f"{mark} stands in an answer; {column} go to the prompt")
        notes.warn("placeholder_without_media", f"{mark} stands in the text, but no file is given")


def _count_placeholders(found: Mapping[str, list[str]], texts: list[str], notes: Notes) -> None:
    for column, mark in PLACEHOLDERS.items():
        marks = sum(text.count(mark) for text in texts)
        files = len(found.get(column, ()))
        if files and marks != files:
            raise Unusable("media_count", f"{marks} {mark} in the text, but {files} {column}")
        if marks and not files:
            notes.warn(
                "placeholder_without_media", f"{mark} stands in the text, but no file is given"
            )
