"""Settings as the words of a command line: what `resolve` reads, the other way round."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fine_tuning.cli.settings.catalogue import Setting, spec_settings
from fine_tuning.values.spec import RunSpec


def words_of(spec: RunSpec, given: frozenset[str], *, leave_out: frozenset[str]) -> list[str]:
    """The flags that ask for these settings: those that were given, or are not at their default."""
    words: list[str] = []
    for name, setting in spec_settings().items():
        value = getattr(spec.data if setting.owner == "data" else spec, name)
        is_asked = name in given or value != setting.default
        if is_asked and name not in leave_out and value is not None:
            words += _flag(setting, value)
    for name, value in spec.engine_args.items():
        if name not in leave_out:
            words += [f"--{name}", *_engine_words(value)]
    return words


def _flag(setting: Setting, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if value:
            yield f"--{setting.name}"
            yield ",".join(f"{key}={_word(item)}" for key, item in value.items())
    elif isinstance(value, tuple | list):
        if value:
            yield f"--{setting.name}"
            yield from map(_word, value)
    else:
        yield f"--{setting.name}"
        yield _word(value)


def _engine_words(value: Any) -> Sequence[str]:
    if isinstance(value, Mapping):
        return [json.dumps(value, ensure_ascii=False)]
    return [_word(item) for item in value] if isinstance(value, list | tuple) else [_word(value)]


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
