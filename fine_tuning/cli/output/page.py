"""Writes docs/json.md from the types that the commands return: `python -m
fine_tuning.cli.output.page`."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from fine_tuning.cli.output.as_json import VERSION
from fine_tuning.cli.output.outcome import Outcome, Words
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.words.program import Command
from fine_tuning.disk.resources import ROOT

PAGE = ROOT / "docs" / "json.md"
SIMPLE: Mapping[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "string (path)",
    type(None): "null",
    Any: "any",
}

INTRO = f"""\
# For programs: `--json`

`python -m fine_tuning.cli.output.page` writes this page from the types that the commands return,
so that it says what they print; a test compares them.

With `--json` every command prints one line with one JSON object on standard output. Everything
else (progress, tables, warnings, what an engine says) goes to standard error. The object is in
ASCII; a number that is not finite is `null`; every field is always there.

```json
{{"version": {VERSION}, "command": "validate", "exit_code": 1, "result": {{...}}, "error": null, "warnings": []}}
```

| field | type | meaning |
| --- | --- | --- |
| `version` | integer | of this form: it grows when a field goes or changes its meaning, not when one is added |
| `command` | string | the command, by its own name (`merge` is `export`) |
| `exit_code` | integer | that of the process |
| `result` | object or null | what the command found or made (below); null if it ended with an error |
| `error` | [Error](#error) or null | why there is no result |
| `warnings` | array of string | what is allowed but doubtful in the flags |

Exit codes: 0 done, 1 it failed in a way that we can name (also `validate` of a dataset with an
unusable row, which has a result), 2 the command was used wrongly, 3 a bug of this program, 130
interrupted.

```bash
python llama_factory_fine_tuning.py validate --dataset_path my.json --json | jq '.result.problems'
python llama_factory_fine_tuning.py runs --json | jq -r '.result.runs[] | select(.state == "done").path'
```

`chat --json` prints its object at the end of the conversation, `webui` and other servers theirs as
soon as they answer; they go on until they are ended.

## Error

| field | type | meaning |
| --- | --- | --- |
| `kind` | string | `DataError`, `ModelError`, `EnvironmentProblem`, `EngineError`, `RowsError`, `UsageError`, `RunConflict`, `Interrupted`, `Bug` |
| `what` | string | what failed |
| `where` | array of string | files, lines (`file:line`) or flags, where they are known apart from `what` |
| `why` | string | the cause; may be empty |
| `next` | string | what to do; may be empty |
| `mistakes` | array of string | every mistake of a command that was used wrongly, else `what` |
"""  # noqa: E501  rows of tables


def result_types(command: Command) -> tuple[type, ...]:
    """What `result` may hold: T of the Outcome[T] that the command's function says it returns, or
    the parts of a union.

    Raises TypeError for a function that says something else.
    """
    module, _, function = command.runner.partition(":")
    returned = typing.get_type_hints(getattr(import_module(module), function)).get("return")
    if typing.get_origin(returned) is not Outcome:
        raise TypeError(
            f"{command.runner} must be annotated with the Outcome[...] that it returns "
            '(docs/architecture.md, "What a command gives"), not with '
            f"{returned}"
        )
    (kind,) = typing.get_args(returned)
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def page() -> str:
    """The whole page."""
    results = {f"`{name}`": result_types(command) for name, command in COMMANDS.items()}
    results["`help` and `version`"] = (Words,)
    found: dict[str, type] = {}
    parts, told = [INTRO], set()
    for name, kinds in results.items():
        parts += [f"## {name}\n"]
        for kind in kinds:
            parts += [f"Or, of other flags, `{kind.__name__}`:\n"] if kind is not kinds[0] else []
            parts += [f'<a id="{kind.__name__.lower()}"></a>', *_section(kind, found)]
            told.add(kind)
    parts += ["## Types\n"]
    while waiting := [kind for kind in found.values() if kind not in told]:
        for kind in waiting:
            told.add(kind)
            parts += [f"### {kind.__name__}\n", *_section(kind, found)]
    return "\n".join(parts).rstrip() + "\n"


def _section(kind: Any, found: dict[str, type]) -> Iterator[str]:
    """A paragraph and a table of the fields; types that they name are noted in `found`."""
    yield " ".join((inspect.getdoc(kind) or "").split()) + "\n"
    yield "| field | type | meaning |"
    yield "| --- | --- | --- |"
    hints = typing.get_type_hints(kind, include_extras=True)
    for item in dataclasses.fields(kind):
        hint, meaning = hints[item.name], ""
        if typing.get_origin(hint) is Annotated:
            hint, meaning = typing.get_args(hint)[:2]
        text = _type_text(hint, found).replace("|", "\\|")
        yield f"| `{item.name}` | {text} | {meaning.replace('|', chr(92) + '|')} |"
    yield ""


def _type_text(hint: Any, found: dict[str, type]) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in SIMPLE:
        return SIMPLE[hint]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        found[hint.__name__] = hint
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    if origin is Literal:
        return ", ".join(f'`"{value}"`' for value in inner)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type_text(part, found) for part in inner)
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"array of {', '.join(_type_text(part, found) for part in inner)}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"object: {_type_text(inner[0], found)} to {_type_text(inner[1], found)}"
    if isinstance(origin, type) and issubclass(origin, Sequence | frozenset):
        return f"array of {_type_text(inner[0], found)}"
    raise TypeError(f"{hint} has no place in docs/json.md")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
