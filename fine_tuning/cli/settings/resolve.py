"""From the words of a command line to the values of a job.

Order: flags > --config > --preset > defaults.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fine_tuning.cli.settings import rules
from fine_tuning.cli.settings.catalogue import (
    Catalogue,
    Setting,
    Written,
    did_you_mean,
    spec_settings,
)
from fine_tuning.cli.settings.commands import catalogue, file_catalogue
from fine_tuning.cli.settings.registered import FLAGS, ONLINE, NotRegistered, datasets_of
from fine_tuning.cli.settings.words.argv import Entry, Found, read_words
from fine_tuning.cli.settings.words.program import Command, program, program_here
from fine_tuning.disk.resources import CONFIGS, ROOT
from fine_tuning.engine.arguments import rules as argument_rules
from fine_tuning.errors import UsageError
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import DataSpec, RunSpec
from fine_tuning.values.tables.methods import SHORT_FOR


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What a command is to do.

    `sources` names every setting that a flag, a file or a preset set, also pass-through ones, and
    says which of the three; `options` holds the command's own flags; `warnings` says what is
    allowed but doubtful; `line` is the command line that asks for the same again.
    """

    command: str
    line: str
    spec: RunSpec
    sources: Mapping[str, Source]
    options: Mapping[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Value:
    setting: Setting
    value: Any
    source: Source


def resolve(command: Command, words: Sequence[str]) -> Resolved:
    """The settings of a command. Raises one `UsageError` with every mistake there is."""
    known = catalogue(command)
    flags = read_words(words, known)
    mistakes: list[str] = []
    values: dict[str, _Value] = {}
    files = _typed(
        [entry for entry in flags.entries if entry.setting.group == "files"], "you", mistakes
    )
    layers: list[tuple[Source, Found]] = [*_files(files, command, mistakes), ("you", flags)]
    ignored: list[str] = []
    written = {entry.setting.name: entry for _, found in layers for entry in found.entries}
    for source, found in layers:
        mistakes += found.mistakes
        asked_for = [item for item in found.entries if source == "you" or _concerns(item, known)]
        entries = _allowed(asked_for, written, mistakes, ignored)
        typed = _typed(entries, source, mistakes)
        values |= {name: item for name, item in typed.items() if known.takes(name)}
    values |= _located(values, mistakes)
    spec = _spec(values)
    asked = _short_forms(argument_rules.Asked(spec, frozenset(values)), mistakes)
    mistakes += rules.broken(asked)
    if mistakes:
        mistakes = list(dict.fromkeys(mistakes))
        raise UsageError(mistakes, fix=f"`{program_here()} {command.name} --help` lists the flags.")
    own = [*command.options]
    if isinstance(command.operand, Setting):
        own.append(command.operand)
    sources: dict[str, Source] = {
        name: item.source for name, item in values.items() if item.setting.owner != "command"
    }
    if asked.spec.quantization != spec.quantization:
        sources["quantization"] = sources["method"]
    return Resolved(
        command=command.name,
        line=" ".join([program(), command.name, *(shlex.quote(w) for w in words if w != "--json")]),
        spec=asked.spec,
        sources=sources,
        options={
            item.name: values[item.name].value if item.name in values else item.default
            for item in own
        },
        warnings=(
            *_repeated(flags.entries),
            *([f"not used: {', '.join(ignored)}."] if ignored else []),
            *argument_rules.doubts(asked),
        ),
    )


def preset_names() -> tuple[str, ...]:
    """The presets in configs/, by name."""
    return tuple(sorted(path.stem for path in CONFIGS.glob("*.yaml")))


def _files(
    files: Mapping[str, _Value], command: Command, mistakes: list[str]
) -> Iterable[tuple[Source, Found]]:
    """What the preset and the settings file say, weakest first."""
    if not files:
        return
    # only lazily: most commands name no file, and YAML takes a while to import
    from fine_tuning.cli.settings.config_file import read_file

    known = file_catalogue(command)
    if "preset" in files:
        name = str(files["preset"].value).removesuffix(".yaml")
        spelled = {preset.replace("-", "_"): preset for preset in preset_names()}
        preset = spelled.get(name.replace("-", "_"))
        if preset is not None:
            yield "preset", read_file(CONFIGS / f"{preset}.yaml", known)
        else:
            from difflib import get_close_matches

            nearest = get_close_matches(name, preset_names(), n=2, cutoff=0.5)
            mistakes.append(
                f"--preset {name}: there is no such preset.{did_you_mean(nearest, '')} "
                f"Presets: {', '.join(preset_names())}."
            )
    if "config" in files:
        try:
            yield "config", read_file(files["config"].value, known)
        except UsageError as error:
            mistakes.append(str(error))


def _allowed(
    entries: Iterable[Entry],
    written: Mapping[str, Entry],
    mistakes: list[str],
    ignored: list[str],
) -> list[Entry]:
    """Leave out what the run sets itself and what must not be written down; say what to do.

    A dataset that is given by its name becomes its files, unless files are given as well.
    `written`: the strongest entry of each name; `ignored` is told what is left out.
    """
    kept = []
    for entry in entries:
        name = entry.setting.name
        if entry.setting.owner == "engine" and name in FLAGS:
            if FLAGS[name] in written:
                ignored.append(f"{entry.place} (--{FLAGS[name]} is given)")
            else:
                kept += _registered(entry, written, mistakes, ignored)
        elif name == "dataset_dir" and _unwrapped(entry) == ONLINE:
            ignored.append(f"{entry.place} (the prepared rows are registered in a folder)")
        elif name in argument_rules.SECRETS:
            mistakes.append(
                f"{entry.place}: a secret shows in process lists and in the run's files; "
                f"{argument_rules.SECRETS[name]}."
            )
        elif entry.setting.owner == "engine" and name in argument_rules.OWNED:
            owned = argument_rules.OWNED[name]
            words = entry.written if isinstance(entry.written, list) else [entry.written]
            if [str(word).lower() for word in words] not in [[word] for word in owned.harmless]:
                mistakes.append(f"{entry.place} is set by the run itself: {owned.instead}.")
            else:
                ignored.append(f"{entry.place} (the run does so by itself)")
        else:
            kept.append(entry)
    return kept


def _concerns(entry: Entry, known: Catalogue) -> bool:
    """A command that reads no data need not find the dataset that a file names."""
    name = entry.setting.name
    return name not in FLAGS or known.find(FLAGS[name]) is not None


def _registered(
    entry: Entry, written: Mapping[str, Entry], mistakes: list[str], ignored: list[str]
) -> list[Entry]:
    """The data that is given by its name, as LLaMA-Factory's files do, and what is said of it."""
    flag = FLAGS[entry.setting.name]
    words = entry.written if isinstance(entry.written, list) else [entry.written]
    names = [name.strip() for word in words for name in str(word).split(",") if name.strip()]
    folder = written.get("dataset_dir")
    try:
        found = datasets_of(
            names, RunSpec().dataset_dir if folder is None else Path(str(_unwrapped(folder)))
        )
        if found.settings and flag != "dataset_path":
            raise NotRegistered(
                f"{', '.join(found.settings)} can be said of the training data only; fetch "
                f"{', '.join(found.paths)} with `download`"
            )
    except NotRegistered as error:
        mistakes.append(f"{entry.place}: {error}; give the file itself with --{flag}.")
        return []
    ignored += [f"{entry.place} ({what})" for what in found.ignored]
    said = {name: value for name, value in found.settings.items() if name not in written}
    return [
        Entry(spec_settings()[name], entry.place, value)
        for name, value in ({flag: list(found.paths)} | said).items()
    ]


def _typed(entries: Iterable[Entry], source: Source, mistakes: list[str]) -> dict[str, _Value]:
    """Typed values by name; of a repeated flag the last counts, lists and mappings grow."""
    values: dict[str, _Value] = {}
    places: dict[str, str] = {}
    for entry in entries:
        setting, name = entry.setting, entry.setting.name
        word = _unwrapped(entry)
        try:
            value = setting.value(word)
        except ValueError as error:
            said = str(error) if str(error).endswith("?") else f"{str(error).rstrip('.')}."
            advice = argument_rules.CHOICES.get((name, str(word).lower()))
            mistakes.append(f"{entry.place} " + (f"{word}: {advice}" if advice else said))
            continue
        before = values.get(name)
        if before is not None and setting.kind == "list":
            value = (*before.value, *value)
        elif before is not None and setting.kind in ("map", "weights"):
            value = {**before.value, **value}
        elif before is not None and value != before.value and places[name] != entry.place:
            mistakes.append(f"{places[name]} and {entry.place} are one setting with two values.")
        values[name] = _Value(setting, value, source)
        places[name] = entry.place
    return values


def _repeated(entries: Iterable[Entry]) -> list[str]:
    """Flags of one value that are given again: scripts do so to change a default, so it is said."""
    last: dict[str, Entry] = {}
    said: dict[str, str] = {}
    for entry in entries:
        name, before = entry.setting.name, last.get(entry.setting.name)
        if before is not None and not entry.setting.is_many and entry.written != before.written:
            said[name] = f"{entry.place} is given twice; the last counts: {_unwrapped(entry)}."
        last[name] = entry
    return list(said.values())


def _located(values: Mapping[str, _Value], mistakes: list[str]) -> dict[str, _Value]:
    """Files that engine arguments name, as absolute paths: seen from here, or bundled."""
    found = {}
    for name in argument_rules.FILES:
        item = values.get(name)
        if item is None or not isinstance(item.value, str):
            continue
        places = [Path(item.value).absolute(), ROOT / item.value]
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            ours = ", ".join(f"configs/{it.name}" for it in sorted(CONFIGS.glob(f"{name}*.json")))
            bundled = f" Bundled are {ours}." if ours else ""
            mistakes.append(f"--{name}: there is no file {item.value}.{bundled}")
        else:
            found[name] = replace(item, value=str(place))
    return found


def _unwrapped(entry: Entry) -> Written:
    words = entry.written
    if isinstance(words, list) and len(words) == 1 and not entry.setting.is_many:
        word: Written = words[0]
        return word
    return words


def _spec(values: Mapping[str, _Value]) -> RunSpec:
    owned: dict[str, dict[str, Any]] = {"run": {}, "data": {}, "engine": {}, "command": {}}
    for name, item in values.items():
        owned[item.setting.owner][name] = item.value
    return RunSpec(data=DataSpec(**owned["data"]), engine_args=owned["engine"], **owned["run"])


def _short_forms(asked: argument_rules.Asked, mistakes: list[str]) -> argument_rules.Asked:
    """`--method qlora` is lora on a quantised base: in 4 bits, unless --quantization says 8bit."""
    if asked.spec.method not in SHORT_FOR:
        return asked
    method, usual = SHORT_FOR[asked.spec.method]
    quantization = asked.spec.quantization
    if "quantization" in asked.given and quantization == "none":
        mistakes.append(
            f"--method {asked.spec.method} needs a quantised base: --quantization 4bit or 8bit."
        )
    chosen = quantization if quantization != "none" else usual
    return argument_rules.Asked(asked.spec.replace(method=method, quantization=chosen), asked.given)
