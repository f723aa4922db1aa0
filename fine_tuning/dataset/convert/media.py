"""Images, videos and audios of a row: the files are there, and each has its mark in the text."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fine_tuning.dataset.convert.content import PLACEHOLDERS
from fine_tuning.dataset.convert.values import Notes, Unusable, as_list, shown
from fine_tuning.dataset.formats import MEDIA_COLUMNS


def read_media(
    fields: Mapping[str, Any],
    parts: Mapping[str, list[Any]],
    texts: Iterable[str],
    notes: Notes,
) -> dict[str, list[str]]:
    """Absolute paths by column, for the columns that the row has.

    `parts` are the files that message parts brought along; `texts` is everything that may hold
    a placeholder. Raises Unusable if a file is missing or the numbers differ.
    """
    found: dict[str, list[str]] = {}
    written = list(texts)
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
            found[column] = [_existing(path, column, notes.media_root) for path in paths]
    _count_placeholders(found, written, notes)
    return found


def has_placeholder(text: str) -> bool:
    """Whether a text holds the mark of a file."""
    return any(mark in text for mark in PLACEHOLDERS.values())


def _existing(path: Any, column: str, root: Path) -> str:
    embedded = ""
    if isinstance(path, dict):
        if path.get("bytes"):
            embedded = "; its bytes stand in the row: save them as a file and give its path"
        path = path.get("path")
        if embedded and path is None:
            raise Unusable("media_malformed", f"{column} holds no path{embedded}")
    if not isinstance(path, str) or not path or "\0" in path:
        raise Unusable("media_malformed", f"{column} holds {shown(path)}; expected a path")
    if path.startswith(("http:", "https:", "data:")):
        raise Unusable(
            "media_missing", f"{column}: {shown(path)} is not a local file; save it first"
        )
    full = (root / path.removeprefix("file://")).absolute()
    try:
        size = full.stat().st_size if full.is_file() else None
    except OSError:
        size = None
    if size is None:
        raise Unusable(
            "media_missing", f"{column}: {shown(path, 80)} was not found in {root}{embedded}"
        )
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
