"""A YAML file of settings: flat names, or the nested shape `model: / dataset: / lora: / training:`.

Scalars are read as text and get their type from the setting, because YAML 1.1 reads `1e-4` as
text, `no` as false and `01` as 1. Keys given twice, which YAML lets pass, are mistakes here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fine_tuning.cli.settings.catalogue import Catalogue, Setting, Written, did_you_mean
from fine_tuning.cli.settings.words.argv import Entry, Found
from fine_tuning.errors import UsageError

# A key inside a section means: this table, else the setting of that name, else section_key.
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "model": {
        "name": "model_name_or_path",
        "path": "model_name_or_path",
        "name_or_path": "model_name_or_path",
        "revision": "model_revision",
        "max_length": "max_seq_length",
    },
    "dataset": {
        "path": "dataset_path",
        "paths": "dataset_path",
        "name": "dataset_path",
        "format": "dataset_format",
        "config": "dataset_config",
        "split": "dataset_split",
        "revision": "dataset_revision",
        "validation_path": "val_dataset_path",
        "max_length": "max_seq_length",
    },
    "lora": {
        "r": "lora_rank",
        "target_modules": "lora_target",
        "target": "lora_target",
    },
    "prompt_tuning": {
        "virtual_tokens": "num_virtual_tokens",
        "prefix_length": "num_virtual_tokens",
        "init_text": "prompt_init",
        "prompt_tuning_init_text": "prompt_init",
    },
    "quantization": {"bits": "quantization", "bit": "quantization", "type": "quantization_type"},
    "training": {
        "num_epochs": "epochs",
        "lr": "learning_rate",
        "max_length": "max_seq_length",
        "gradient_accumulation": "gradient_accumulation_steps",
        "scheduler": "lr_scheduler_type",
        "lr_scheduler": "lr_scheduler_type",
        "optimizer": "optim",
    },
    "export": {"dir": "export_dir", "path": "export_dir"},
    "output": {"dir": "output_dir", "path": "output_dir"},
}
SAME_SECTION = {
    "data": "dataset",
    "train": "training",
    "adapter": "lora",
    "method": "training",
    **dict.fromkeys(("prefix_tuning", "p_tuning", "ptuning"), "prompt_tuning"),
}
MOST_LEVELS = 50
NOTHING = ("", "null", "~")


@dataclass(frozen=True, slots=True)
class Line:
    """One key of the file: the keys that lead to it, its value as text, and where it stands."""

    keys: tuple[str, ...]
    written: Written
    place: str


def read_file(path: Path, catalogue: Catalogue) -> Found:
    """The settings of a file. Raises `UsageError` if it is not a YAML mapping."""
    entries: list[Entry] = []
    mistakes: list[str] = []
    seen: dict[tuple[str, ...], str] = {}
    for line in _lines(path):
        if line.keys in seen:
            mistakes.append(f"{line.place} is given twice (first at {seen[line.keys]}).")
            continue
        seen[line.keys] = line.place
        if line.written in NOTHING:
            continue
        setting = _setting(line, catalogue)
        if setting is not None and setting.group != "files":
            entries.append(Entry(setting, line.place, line.written))
        elif setting is not None:
            mistakes.append(f"{line.place} belongs on the command line, not into a settings file.")
        elif line.keys[-1] not in catalogue.elsewhere:
            mistakes.append(_unknown(line, catalogue))
    return Found(tuple(entries), tuple(mistakes))


def _setting(line: Line, catalogue: Catalogue) -> Setting | None:
    key = line.keys[-1].replace("-", "_")
    if len(line.keys) == 1:
        return catalogue.find(key)
    section = SAME_SECTION.get(line.keys[0], line.keys[0])
    names = (SECTIONS[section].get(key, key), key, f"{section}_{key}")
    return next((found for name in names if (found := catalogue.find(name)) is not None), None)


def _unknown(line: Line, catalogue: Catalogue) -> str:
    key = line.keys[-1]
    if len(line.keys) == 1 and isinstance(line.written, dict):
        nearest = tuple(get_close_matches(key, [*SECTIONS, *SAME_SECTION], n=2, cutoff=0.6))
        known = "" if nearest else f" Sections are {', '.join(SECTIONS)}."
        return f"{line.place}: `{key}` is not a section.{did_you_mean(nearest, '')}{known}"
    nearest = catalogue.nearest(key)
    if len(line.keys) == 2:
        section = SAME_SECTION.get(line.keys[0], line.keys[0])
        own = get_close_matches(key, SECTIONS[section], n=1, cutoff=0.6)
        nearest = tuple(own) or nearest or catalogue.nearest(f"{section}_{key}")
    return f"{line.place}: `{key}` is not a setting.{did_you_mean(nearest, '')}"


def pairs_of(path: Path, what: str = "settings file") -> list[tuple[Any, Any]]:
    """Keys and values of a YAML mapping, as nodes with their lines; `what` it is in a sentence.

    Raises UsageError for a file that is none, or that refers to itself.
    """
    import yaml  # 20 ms that `--help` need not pay

    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"There is no {what} {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The {what} {path} cannot be read: {error}.") from error
    try:
        alias = _first_alias(yaml.parse(text, Loader=yaml.SafeLoader), path, what)
        root = yaml.compose(text, Loader=yaml.SafeLoader) if alias is None else None
    except yaml.YAMLError as error:
        found = "\n  ".join(str(error).splitlines())
        raise UsageError(
            f"The {what} {path} is not YAML.\n  {found}",
            fix="Write one `name: value` per line; a nested setting is indented with spaces.",
        ) from None
    if alias is not None:
        mark = alias.start_mark
        place = path.name if mark is None else f"{path.name}:{mark.line + 1}"
        raise UsageError(f"{place}: write the value out where *{alias.anchor} refers to it.")
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"The {what} {path} must consist of `name: value` lines.")
    pairs: list[tuple[Any, Any]] = root.value
    return pairs


def _lines(path: Path) -> Iterator[Line]:
    import yaml

    for key, value in pairs_of(path):
        name = name_of(key)
        place = f"{path.name}:{key.start_mark.line + 1} {name}"
        if isinstance(value, yaml.MappingNode) and (name in SECTIONS or name in SAME_SECTION):
            for inner, inner_value in value.value:
                keys = (name, name_of(inner))
                at = f"{path.name}:{inner.start_mark.line + 1} {'.'.join(keys)}"
                yield Line(keys, written_of(inner_value), at)
        else:
            yield Line((name,), written_of(value), place)


def _first_alias(events: Iterator[Any], path: Path, what: str) -> Any:
    """A reference to another value: one that holds itself never ends, nested ones grow unbounded.

    Raises `UsageError` for nesting that no settings have; YAML's parser takes a minute for it.
    """
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            return event
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_LEVELS:
            raise UsageError(f"The {what} {path} nests too deeply to hold settings.")
    return None


def name_of(key: Any) -> str:
    """The text of a key; a list or mapping as a key is no setting's name."""
    return key.value if isinstance(key.value, str) else f"a {key.id} as a key"


def written_of(node: object) -> Written:
    """What a value says, as text; mappings and lists of texts."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        return {name_of(key): written_of(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [written_of(item) for item in node.value]
    assert isinstance(node, yaml.ScalarNode)
    return str(node.value)
