"""The training arguments of the installed LLaMA-Factory and Transformers, read from their source.

Importing LLaMA-Factory takes seconds; reading the dataclasses that define its arguments with `ast`
takes a fraction of one, and the answer is kept in the user's cache directory until a source file
changes. `tests/engine/arguments/test_installed.py` compares the result with the real dataclasses.
"""

import ast
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

from fine_tuning.disk.files import write_text
from fine_tuning.disk.resources import REINSTALL
from fine_tuning.errors import EnvironmentProblem

# The five dataclasses of hparams/parser.py:_TRAIN_ARGS, with the files that define them.
ROOTS = (
    ("llamafactory/hparams/model_args.py", "ModelArguments"),
    ("llamafactory/hparams/data_args.py", "DataArguments"),
    ("llamafactory/hparams/finetuning_args.py", "FinetuningArguments"),
    ("llamafactory/hparams/generating_args.py", "GeneratingArguments"),
    ("llamafactory/hparams/training_args.py", "TrainingArguments"),
)
# Those of the online stages, beside what these have already; their servers are not offered.
ONLINE_ROOTS = (
    ("trl/trainer/grpo_config.py", "GRPOConfig"),
    ("trl/trainer/rloo_config.py", "RLOOConfig"),
)
NOT_OFFERED = "vllm_"
TRL = "trl"  # the source of arguments of the online stages alone
BASES = (
    "transformers/training_args_seq2seq.py",
    "transformers/training_args.py",
)
ENUMS = (
    "llamafactory/extras/constants.py",
    "transformers/trainer_utils.py",
    "transformers/training_args.py",
)
# hparams/training_args.py chooses its base class by an environment variable, under this name.
RENAMED = {"BaseTrainingArguments": "Seq2SeqTrainingArguments"}

SCALARS = ("bool", "int", "float", "str")


@dataclass(frozen=True, slots=True)
class EngineArgument:
    """One argument: `types` are the kinds of value it takes, among bool, int, float, str, list
    and dict; `default` is the default as its source writes it."""

    name: str
    types: tuple[str, ...]
    default: str
    help: str
    choices: tuple[str, ...]
    source: str

    def value(self, text: str) -> Any:
        """The typed value of a word from the command line or a file; ValueError if it has none."""
        if self.choices and text not in self.choices:
            raise ValueError(f"must be one of {', '.join(self.choices)}, not {text!r}")
        # a broken JSON object must not pass as the path that `dict | str` also admits
        types = ("dict",) if "dict" in self.types and text[:1] == "{" else self.types
        wanted = " or ".join(TYPE_NAMES[name] for name in types)
        for name in sorted(types, key=TRY_ORDER.index):
            try:
                return PARSERS[name](text)
            except ValueError:
                continue
        raise ValueError(f"must be {wanted}, not {text!r}")


def truth(text: str) -> bool:
    """True or false as people write it; ValueError for anything else."""
    word = text.strip().lower()
    if word in ("true", "yes", "on", "1", "y"):
        return True
    if word in ("false", "no", "off", "0", "n"):
        return False
    raise ValueError(text)


def whole(text: str) -> int:
    """A whole number, also written as 1e3 or 8.0; ValueError for anything else."""
    value = number(text)
    if value != int(value):
        raise ValueError(text)
    return int(value)


def number(text: str) -> float:
    """A finite number; one that is written as a whole number stays one."""
    try:
        return int(text)
    except ValueError:
        value = float(text)
        if not isfinite(value):
            raise ValueError(text) from None
        return value


def _mapping(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(text)
    return value


def _words(text: str) -> list[str]:
    if text.lstrip().startswith("["):
        return [str(item) for item in json.loads(text)]
    return text.replace(",", " ").split()


PARSERS: Mapping[str, Callable[[str], Any]] = {
    "bool": truth,
    "int": whole,
    "float": number,
    "dict": _mapping,
    "list": _words,
    "str": str,
}
TYPE_NAMES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "dict": "a JSON object",
    "list": "a list",
    "str": "text",
}
# enum name -> member -> the word that stands for it on a command line
Enums = Mapping[str, Mapping[str, str]]
# `str` takes everything, so it is tried before `list` ("wandb" is a str) but after the rest.
TRY_ORDER = ("int", "float", "bool", "dict", "str", "list")


def engine_arguments() -> Mapping[str, EngineArgument]:
    """Every training argument of the installed engine, by name.

    Raises `EnvironmentProblem` if LLaMA-Factory or Transformers is not installed.
    """
    packages: dict[str, Path] = {}
    for name in ("llamafactory", "transformers", "trl"):
        spec = find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise EnvironmentProblem(
                f"The Python package {name} is not installed for this Python.", fix=REINSTALL
            )
        packages[name] = Path(spec.submodule_search_locations[0]).parent
    files = {
        path: packages[path.split("/")[0]] / path
        for path in dict.fromkeys([*(root for root, _ in (*ROOTS, *ONLINE_ROOTS)), *BASES, *ENUMS])
    }
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    seen = [(str(it), it.stat().st_size, it.stat().st_mtime_ns) for it in files.values()]
    stamp = repr((Path(__file__).stat().st_mtime_ns, sorted(seen)))
    name = f"arguments-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}.json"
    cache = Path(base) / "llama-factory-fine-tuning" / name
    cached = _load(cache)
    if cached is not None:
        return cached
    arguments = _read(files)
    # keep the answer; a read-only home only costs the next command a fraction of a second
    rows = [asdict(argument) for argument in arguments.values()]
    with suppress(OSError):
        write_text(cache, json.dumps(rows))
    return arguments


def _load(cache: Path) -> dict[str, EngineArgument] | None:
    try:
        rows = json.loads(cache.read_text(encoding="utf-8"))
        return {
            row["name"]: EngineArgument(
                **row | {"types": tuple(row["types"]), "choices": tuple(row["choices"])}
            )
            for row in rows
        }
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _read(files: Mapping[str, Path]) -> dict[str, EngineArgument]:
    trees = {
        path: ast.parse(file.read_text(encoding="utf-8"), str(file)) for path, file in files.items()
    }
    classes = {
        (path, node.name): node
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    enums = {name: _members(node) for (path, name), node in classes.items() if path in ENUMS}
    enums = {name: members for name, members in enums.items() if members}
    arguments: dict[str, EngineArgument] = {}
    for path, name in ROOTS:
        for source, statement in _fields(classes, path, name):
            argument = _argument(statement, source, enums)
            if argument is not None:
                arguments[argument.name] = argument
    for path, name in ONLINE_ROOTS:
        for source, statement in _fields(classes, path, name):
            argument = _argument(statement, source, enums)
            if (
                argument is not None
                and not argument.name.startswith(NOT_OFFERED)
                and "deprecated" not in argument.help.lower()
            ):
                arguments.setdefault(argument.name, argument)
    return arguments


def _fields(
    classes: Mapping[tuple[str, str], ast.ClassDef], path: str, name: str
) -> Iterator[tuple[str, ast.AnnAssign]]:
    """The annotated fields of a dataclass, its bases' first (a later one replaces an earlier)."""
    node = classes[(path, name)]
    for base in reversed(node.bases):
        wanted = ast.unparse(base)
        wanted = RENAMED.get(wanted, wanted)
        places = [path, *BASES] if (path, wanted) != (path, name) else list(BASES)
        place = next((place for place in places if (place, wanted) in classes), None)
        if place is not None:
            yield from _fields(classes, place, wanted)
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield path.split("/")[0], statement


def _members(node: ast.ClassDef) -> dict[str, str]:
    if not any("Enum" in ast.unparse(base) for base in node.bases):
        return {}
    return {
        ast.unparse(statement.targets[0]): value
        for statement in node.body
        if isinstance(statement, ast.Assign)
        for value in _texts([statement.value])
    }


def _argument(statement: ast.AnnAssign, source: str, enums: Enums) -> EngineArgument | None:
    assert isinstance(statement.target, ast.Name)
    keywords: dict[str, ast.expr] = {}
    default: ast.expr | None = statement.value
    if isinstance(statement.value, ast.Call) and ast.unparse(statement.value.func) == "field":
        keywords = {item.arg: item.value for item in statement.value.keywords if item.arg}
        default = keywords.get("default")
    if "init" in keywords and ast.unparse(keywords["init"]) == "False":
        return None
    types, choices = _types(statement.annotation, enums)
    node = _metadata(keywords.get("metadata"), "help")
    parts = _texts(ast.walk(node)) if node is not None else ()
    return EngineArgument(
        name=statement.target.id,
        types=types,
        default=_default(default, enums),
        help=" ".join("".join(parts).replace("%%", "%").split()),
        choices=choices or _named_choices(_metadata(keywords.get("metadata"), "choices")),
        source=source,
    )


def _types(annotation: ast.expr, enums: Enums) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The kinds of value that an annotation admits, and the words it is limited to."""
    types: dict[str, None] = {}
    choices: tuple[str, ...] = ()
    for part in _union(annotation):
        text = ast.unparse(part)
        outer = text.split("[")[0]
        if outer == "Literal":
            choices = tuple(ast.literal_eval(item) for item in _items(part))
            types["str"] = None
        elif outer in enums:
            choices = tuple(enums[outer].values())
            types["str"] = None
        elif outer in (*SCALARS, "list", "dict"):
            types[outer] = None
        elif outer in ("Path", "Any"):
            types["str"] = None
        # `None`, and objects that only Python code can make, say nothing about a written value
    return tuple(types) or ("str",), choices


def _union(annotation: ast.expr) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.BinOp):
        yield from _union(annotation.left)
        yield from _union(annotation.right)
    elif ast.unparse(annotation).startswith(("Optional[", "Union[")):
        for item in _items(annotation):
            yield from _union(item)
    else:
        yield annotation


def _items(subscript: ast.expr) -> list[ast.expr]:
    assert isinstance(subscript, ast.Subscript)
    inner = subscript.slice
    return inner.elts if isinstance(inner, ast.Tuple) else [inner]


def _default(node: ast.expr | None, enums: Enums) -> str:
    if node is None:
        return ""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        text = ast.unparse(node)
        enum, _, member = text.partition(".")
        if enum in enums:
            return enums[enum].get(member, text)
        return "" if text.isidentifier() else text
    return "" if value is None else str(value)


def _metadata(node: ast.expr | None, name: str) -> ast.expr | None:
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == name:
                return value
    return None


def _named_choices(node: ast.expr | None) -> tuple[str, ...]:
    """Choices that the field's metadata lists (some are computed; those are not known here)."""
    if not isinstance(node, ast.List):
        return ()
    return tuple(_texts(node.elts))


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
