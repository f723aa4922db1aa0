"""`--json`: one object on standard output, and everything else on standard error."""

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.settings.words.argv import canonical
from fine_tuning.errors import FineTuningError, UsageError

VERSION = 1  # of the objects: it grows when a field changes its meaning or goes
FLAG = re.compile(r"--\w+")
# Takes a function that makes the object: nothing is made, or imported for it, without --json.
Tell = Callable[[Callable[[], Mapping[str, Any]]], None]


def is_wanted(words: Sequence[str]) -> bool:
    """Whether the words ask for an object, also where others of them are mistakes."""
    last = [word for word in words if canonical(word.partition("=")[0]) in ("json", "no_json")]
    if not last or not last[-1].startswith("--"):
        return False
    flag, _, value = last[-1].partition("=")
    return canonical(flag) == "json" and value.lower() not in ("false", "no", "0")


@contextmanager
def only_json(words: Sequence[str]) -> Iterator[Tell]:
    """Gives what writes the object, if the words ask for one; else it writes nothing.

    Meanwhile all that this process and those that it starts say goes to standard error.
    """
    if not is_wanted(words):
        yield lambda make: None
        return
    out = sys.stdout
    own = _own_descriptor(out)
    sys.stdout = sys.stderr
    if own is not None:
        out.flush()
        kept = os.dup(own)
        os.dup2(sys.stderr.fileno(), own)
    try:
        yield lambda make: _write(out if own is None else kept, make())
    finally:
        sys.stdout = out
        if own is not None:
            os.dup2(kept, own)
            os.close(kept)


def _own_descriptor(out: TextIO) -> int | None:
    """Where this process writes; None if both streams are not files of the system's (a test)."""
    try:
        sys.stderr.fileno()
        return out.fileno()
    except OSError:
        return None


def _write(place: TextIO | int, told: Mapping[str, Any]) -> None:
    line = json.dumps(told, allow_nan=False) + "\n"
    if not isinstance(place, int):
        place.write(line)
        place.flush()
        return
    data = line.encode()
    while data:
        data = data[os.write(place, data) :]


def of_outcome(command: str, outcome: Outcome[Any], warnings: Sequence[str]) -> dict[str, Any]:
    """What a command gave, as an object."""
    from fine_tuning.values.codec import to_json

    return _object(command, outcome.code, warnings, result=_finite(to_json(outcome.value)))


def of_error(command: str, error: FineTuningError) -> dict[str, Any]:
    """Why a command gave nothing, as an object."""
    mistakes = list(error.mistakes) if isinstance(error, UsageError) else [error.what]
    flags = map(FLAG.search, mistakes if isinstance(error, UsageError) else ())
    named = [found.group() for found in flags if found]
    return _object(
        command,
        error.exit_code,
        (),
        error={
            "kind": type(error).__name__,
            "what": error.what,
            "where": list(dict.fromkeys([*error.where, *named])),
            "why": error.why,
            "next": error.fix,
            "mistakes": mistakes,
        },
    )


def _object(
    command: str, code: int, warnings: Sequence[str], *, result: Any = None, error: Any = None
) -> dict[str, Any]:
    return {
        "version": VERSION,
        "command": command,
        "exit_code": code,
        "result": result,
        "error": error,
        "warnings": list(warnings),
    }


def _finite(value: Any) -> Any:
    """The same with null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
