"""The tokens of images, videos and audios, by the plugin of LLaMA-Factory's template.

The plugin writes as many marks into a text as the model has tokens for the files, which depends on
their sizes: it has to read them, as the training will.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from PIL.Image import DecompressionBombError

from fine_tuning.engine.worker.tokens.rendering import Rendering, engine_messages
from fine_tuning.errors import EnvironmentProblem, ModelError

COLUMNS = ("images", "videos", "audios")
MARKS = ("<image>", "<video>", "<audio>")
TOKENS = ("image_token", "video_token", "audio_token")  # of a template's plugin; None: not taken
ADDED = "media_tokens"  # key of a row: tokens that stand before its text


def media_of(row: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """The paths of the row's images, videos and audios."""
    images, videos, audios = (list(row.get(column) or ()) for column in COLUMNS)
    return images, videos, audios


def require_media(how: Rendering, columns: Iterable[str], name: str | None) -> None:
    """Raise ModelError if the model or its template cannot take what the rows hold.

    A template for images asks for their processor also where the rows are text alone.
    """
    plugin = how.template.mm_plugin
    shown = f"template '{name}'" if name else "the model's own template"
    for column, token in zip(COLUMNS, TOKENS, strict=True):
        if column in columns and getattr(plugin, token) is None:
            raise ModelError(
                f"The rows hold {column}, and {shown} takes none.",
                why="the model was chosen for text, or its template was not recognised",
                fix=f"give a model that takes {column}, or its --template by name",
            )
    try:
        plugin.process_messages([], [], [], [], how.processor)
    except ValueError as error:
        raise ModelError(
            f"The model's processor could not be loaded, and {shown} needs it: {error}",
            fix="download the model again with all its files, preprocessor_config.json among them",
        ) from error


def expanded(
    rows: Iterable[Mapping[str, Any]],
    how: Rendering,
    with_media: "array[int]",
    unreadable: dict[int, str],
) -> Iterator[Mapping[str, Any]]:
    """The rows with each mark written out as the tokens of its file.

    `with_media` gets the numbers of those that have files. A row whose files cannot be read stays
    as it is; `unreadable` then says why, by its number.
    """
    # Whether model and template take media: then each mark in a text wants its file.
    plugin = how.template.mm_plugin
    takes = how.processor is not None and how.kind != "text"  # documents are trained as they are
    sees = takes and any(getattr(plugin, name) for name in TOKENS)
    for number, row in enumerate(rows):
        has_files = any(media_of(row))
        if has_files:
            with_media.append(number)
        mark = _mark_without_file(row) if sees else None
        if mark:
            unreadable[number] = f"{mark} stands in the text, and the row names no file for it"
        if mark or not has_files:
            yield row
            continue
        try:
            yield _written_out(row, how)
        except ImportError as error:
            raise EnvironmentProblem(
                f"A program that reads such files is missing: {error}",
                fix="install it into this environment, or take these files out of the data",
            ) from error
        except Exception as error:  # decoders raise anything
            files = ", ".join(chain(*media_of(row)))
            unreadable[number] = f"{files}: {_why(error)}"
            yield row


def _why(error: Exception) -> str:
    if isinstance(error, DecompressionBombError):
        return f"it has more pixels than Pillow takes for safe: {error}"
    if isinstance(error, FileNotFoundError):
        return "it is not there any more"
    return str(error) or type(error).__name__


def _mark_without_file(row: Mapping[str, Any]) -> str | None:
    """A mark that a text holds without any file of its kind."""
    turns = [*row["conversations"], *(row[name] for name in ("chosen", "rejected") if name in row)]
    for mark, files in zip(MARKS, media_of(row), strict=True):
        if not files and any(mark in turn["value"] for turn in turns):
            return mark
    return None


def _written_out(row: Mapping[str, Any], how: Rendering) -> Mapping[str, Any]:
    plugin, media = how.template.mm_plugin, media_of(row)
    messages = plugin.process_messages(engine_messages(row), *media, how.processor)
    before, _ = plugin.process_token_ids([], [], *media, how.tokenizer, how.processor)
    turns = [
        {**turn, "value": message["content"]}
        for turn, message in zip(row["conversations"], messages, strict=True)
    ]
    return {**row, "conversations": turns, ADDED: len(before)}
