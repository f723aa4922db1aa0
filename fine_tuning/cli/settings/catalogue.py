"""Every setting that a command takes: made from the fields of RunSpec and DataSpec.

A setting of LLaMA-Factory or Transformers is looked up only when a name is not one of ours.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from fine_tuning.disk.paths import at_home, expanded
from fine_tuning.engine.arguments.installed import EngineArgument, number, truth, whole
from fine_tuning.values.spec import DataSpec, RunSpec

Kind = Literal["bool", "int", "float", "text", "path", "list", "map", "weights", "engine"]
# What somebody wrote: a word, several words, or (in a file) a mapping.
Written = str | list[Any] | dict[str, Any]

KINDS: Mapping[Any, Kind] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "text",
    Path: "path",
    tuple[str, ...]: "list",
    Mapping[str, str]: "map",
    Mapping[str, float]: "weights",
}

# Other spellings of a choice; the choices themselves are in values/spec.py.
SPELLINGS: Mapping[str, Mapping[str, str]] = {
    "quantization": {
        "4": "4bit",
        "8": "8bit",
        "int4": "4bit",
        "int8": "8bit",
        "nf4": "4bit",
        "16": "none",
        "no": "none",
        "false": "none",
        "off": "none",
    },
    "stage": {"pretrain": "pt", "reward": "rm"},
    "dataset_format": {"messages": "openai", "dpo": "preference"},
}

MANY_CHOICES = 12  # more do not help in an error message

# Names from other tools' command lines, and what they are called here.
HINTS: Mapping[str, str] = {
    "lr": "learning_rate",
    "model": "model_name_or_path",
    "model_name": "model_name_or_path",
    "model_path": "model_name_or_path",
    "base_model": "model_name_or_path",
    "data": "dataset_path",
    "data_path": "dataset_path",
    "dataset_name": "dataset_path",
    "train_file": "dataset_path",
    "format": "dataset_format",
    "output": "output_dir",
    "num_epochs": "epochs",
    "num_train_epoch": "epochs",
    "max_epochs": "epochs",
    "max_seq_len": "max_seq_length",
    "cutoff": "max_seq_length",
    "context_length": "max_seq_length",
    "lora_r": "lora_rank",
    "rank": "lora_rank",
    "alpha": "lora_alpha",
    "target_modules": "lora_target",
    "lora_target_modules": "lora_target",
    "modules_to_save": "additional_target",
    "new_tokens": "add_tokens",
    "load_in_4bit": "quantization",
    "load_in_8bit": "quantization",
    "bits": "quantization",
    "gpus": "nproc_per_node",
    "num_gpus": "nproc_per_node",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its name, what it takes, and its lines in `--help`.

    `owner` says where its value goes: RunSpec, DataSpec, RunSpec.engine_args, or the command.
    """

    name: str
    kind: Kind
    owner: Literal["run", "data", "engine", "command"]
    help: str
    group: str
    default: Any = None
    choices: tuple[str, ...] = ()
    metavar: str = ""
    engine_name: str = ""
    elsewhere: str = ""  # its help in commands other than `run`; empty: the same
    alone: str = ""  # what the flag means without a value; empty: it needs one
    argument: EngineArgument | None = None

    @property
    def is_bool(self) -> bool:
        """Whether the flag alone means true."""
        return self.kind == "bool" or (self.argument is not None and "bool" in self.argument.types)

    @property
    def is_many(self) -> bool:
        """Whether several words may follow the flag, and the flag may be repeated."""
        return self.kind in ("list", "map", "weights") or (
            self.argument is not None
            # LLaMA-Factory's own lists are text with commas, and their help says so
            and ("list" in self.argument.types or "commas to separate" in self.argument.help)
        )

    def value(self, written: Written) -> Any:
        """The typed value of what somebody wrote; ValueError says what it must be instead."""
        if self.argument is not None and not self.choices:
            return _engine_value(self.argument, written)
        if self.kind in ("map", "weights"):
            return _pairs(written, self.kind)
        words = written if isinstance(written, list) else [written]
        if any(isinstance(word, dict | list) or word == "" for word in words):
            raise ValueError(f"needs {self._wanted()}, not an empty value or a list of settings")
        if self.kind == "list" and self.choices:
            parts = [part for word in words for part in str(word).split(",") if part]
            return tuple(dict.fromkeys(_choice(self, part) for part in parts))
        if self.kind == "list" and self.metavar == "PATH":
            return tuple(path for word in words for path in expanded(_at_home(word)))
        if self.kind == "list":
            return tuple(_at_home(word) for word in words)
        if len(words) != 1:
            raise ValueError(f"takes one value, not {len(words)}")
        return self._scalar(str(words[0]))

    def _scalar(self, word: str) -> Any:
        if self.choices:
            return _choice(self, word)
        if self.kind == "text":
            return _at_home(word)
        if self.kind == "path":
            return at_home(word)
        parse: Callable[[str], Any] = {"bool": truth, "int": whole, "float": number}[self.kind]
        try:
            return parse(word)
        except ValueError:
            raise ValueError(f"must be {self._wanted()}, not {word!r}") from None

    def _wanted(self) -> str:
        return {
            "bool": "true or false",
            "int": "a whole number",
            "float": "a number",
            "path": "a path",
        }.get(self.kind, "a value")


def spec_settings() -> dict[str, Setting]:
    """The settings of RunSpec and DataSpec, by name, in the order of values/spec.py."""
    found = {}
    owners: tuple[tuple[Literal["run", "data"], type], ...] = (("data", DataSpec), ("run", RunSpec))
    for owner, spec in owners:
        hints = typing.get_type_hints(spec)
        for item in dataclasses.fields(spec):
            if item.metadata and item.name != "engine_args":
                found[item.name] = _setting(item, hints[item.name], owner)
    return found


def engine_setting(argument: EngineArgument) -> Setting:
    """A pass-through argument as a setting."""
    return Setting(
        name=argument.name,
        kind="engine",
        owner="engine",
        help=argument.help,
        group="engine",
        default=argument.default,
        choices=argument.choices,
        argument=argument,
    )


def _setting(item: "dataclasses.Field[Any]", hint: Any, owner: Literal["run", "data"]) -> Setting:
    if isinstance(hint, types.UnionType):
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    made = item.default_factory
    default = item.default if made is dataclasses.MISSING else made()
    return Setting(
        name=item.name,
        kind=KINDS[hint],
        owner=owner,
        help=item.metadata["help"],
        group=item.metadata["group"],
        default=default,
        choices=item.metadata["choices"],
        metavar=item.metadata["metavar"],
        engine_name=item.metadata["engine_name"],
        elsewhere=item.metadata["elsewhere"],
        alone=item.metadata["alone"],
    )


@dataclass(frozen=True)
class Catalogue:
    """The settings that one command takes.

    `engine` reads the pass-through ones when it is asked; `elsewhere` names the command that does
    take a name which this one does not; `operand` is what words without a flag are.
    """

    settings: Mapping[str, Setting]
    engine: Callable[[], Mapping[str, EngineArgument]]
    elsewhere: Mapping[str, str]
    operand: Setting | None = None

    def find(self, name: str) -> Setting | None:
        """The setting of this name, also by LLaMA-Factory's name for it."""
        setting = self.settings.get(name) or self._aliases().get(name)
        if setting is None and (argument := self.engine().get(name)) is not None:
            setting = engine_setting(argument)
        return setting

    def takes(self, name: str) -> bool:
        """Whether a flag, or a word without one, sets what has this name."""
        is_operand = self.operand is not None and self.operand.name == name
        return is_operand or self.find(name) is not None

    def nearest(self, name: str) -> tuple[str, ...]:
        """Up to three known names that look like this one, the likeliest first."""
        aliases = self._aliases()
        known = [*self.settings, *aliases, *self.engine()]
        found = get_close_matches(name.lower(), known, n=3, cutoff=0.7)
        close = [aliases[near].name if near in aliases else near for near in found]
        hint = HINTS.get(name.lower())
        wanted = [hint] if hint in known else []
        return tuple(dict.fromkeys([*wanted, *close]))[:3]

    def _aliases(self) -> dict[str, Setting]:
        return {item.engine_name: item for item in self.settings.values() if item.engine_name}


def did_you_mean(names: Sequence[str], prefix: str = "--") -> str:
    """A question that names the nearest ones, or nothing."""
    if not names:
        return ""
    return f" Did you mean {' or '.join(prefix + name for name in names)}?"


def _choice(setting: Setting, word: str) -> str:
    lower = word.lower().replace("-", "_")
    lower = SPELLINGS.get(setting.name, {}).get(lower, lower)
    if lower in setting.choices:
        return lower
    nearest = get_close_matches(lower, setting.choices, n=2, cutoff=0.5)
    question = did_you_mean(nearest, "")
    if len(setting.choices) > MANY_CHOICES:
        listed = f"`help engine {setting.name}` lists what it can be"
        raise ValueError(f"cannot be {word!r}; {listed}.{question}")
    raise ValueError(f"must be one of {', '.join(setting.choices)}, not {word!r}.{question}")


def _at_home(word: Any) -> str:
    """`~/` is a shell's shorthand, and a shell does not expand it after `=` or in a file."""
    text = str(word)
    return str(at_home(text)) if text.startswith("~/") or text == "~" else text


def _pairs(written: Written, kind: str) -> dict[str, Any]:
    if isinstance(written, dict):
        pairs = [(str(key), str(value)) for key, value in written.items()]
    else:
        words = written if isinstance(written, list) else [written]
        parts = [part for word in words for part in str(word).split(",") if part]
        # a path may contain `=`, so the weight is what follows the last one
        cut = [part.rpartition("=") if kind == "weights" else part.partition("=") for part in parts]
        pairs = [(left.strip(), right.strip()) for left, _, right in cut]
    shape = "must look like a.jsonl=2,b.jsonl=1" if kind == "weights" else "must look like a=b,c=d"
    if not pairs or any(not left or not right for left, right in pairs):
        raise ValueError(shape)
    if kind == "map":
        return dict(pairs)
    try:
        weights = {_at_home(left): float(number(right)) for left, right in pairs}
    except ValueError:
        raise ValueError(shape) from None
    if any(weight < 0 for weight in weights.values()):
        raise ValueError("must have weights of 0 or more")
    return weights


def _engine_value(argument: EngineArgument, written: Written) -> Any:
    if isinstance(written, dict):
        if "dict" not in argument.types:
            raise ValueError("takes one value, not a list of settings")
        return {key: _plain(value) for key, value in written.items()}
    if isinstance(written, list):
        words = [str(word) for word in written]
        if "list" in argument.types and len(words) != 1:
            return words
        # LLaMA-Factory's own lists (lora_target, add_tokens ...) are text with commas
        written = ",".join(words)
    return argument.value(_at_home(written))


def _plain(written: Written) -> Any:
    """A value inside a JSON-like argument, whose type nobody declares: as JSON would read it."""
    if isinstance(written, dict):
        return {key: _plain(value) for key, value in written.items()}
    if isinstance(written, list):
        return [_plain(value) for value in written]
    if written.lower() in ("null", "~", "none", ""):
        return None
    if written.lower() in ("true", "false"):
        return written.lower() == "true"
    try:
        return number(written)
    except ValueError:
        return written
