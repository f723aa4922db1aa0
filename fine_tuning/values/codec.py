"""Values as JSON and back."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fine_tuning.errors import DataError

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """A value of ours as plain JSON types."""
    return msgspec.to_builtins(value, enc_hook=str)


def is_json(text: str) -> bool:
    """Whether the whole text is one JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


START_AGAIN = (
    "give another --output_dir, or start it again with --restart (the old state is moved aside)"
)


def from_json(
    value: Any,
    kind: type[T],
    *,
    named: str = "run.json",
    root: Path | None = None,
    fix: str = START_AGAIN,
) -> T:
    """The value again; relative paths in it lie below `root`.

    Raises DataError, which names the file, if it was changed so that it is no such value.
    """

    def decode(wanted: type[Any], text: Any) -> Any:
        return root / text if root is not None and wanted is Path else wanted(text)

    try:
        return msgspec.convert(value, kind, dec_hook=decode, strict=False)
    except (msgspec.ValidationError, TypeError) as error:
        raise DataError(f"{named} cannot be read: {error}", fix=fix, where=(named,)) from error


def json_text(value: Any, *, root: Path) -> str:
    """Strict JSON, with paths below `root` relative to it; numbers that are not finite are null."""

    def encode(item: Any) -> str:
        if isinstance(item, Path) and item.is_relative_to(root):
            return item.relative_to(root).as_posix()
        return str(item)

    text = msgspec.json.encode(value, enc_hook=encode)
    return msgspec.json.format(text, indent=1).decode() + "\n"


def fingerprint(*values: Any) -> str:
    """A short hash of JSON-able values, equal exactly when they are."""
    text = json.dumps([to_json(value) for value in values], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
