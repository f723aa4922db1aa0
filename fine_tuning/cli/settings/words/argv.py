"""The words of a command line, sorted into settings.

argparse stops at the first mistake, cannot look a name up in a second table and takes a prefix
for the whole; a person who starts an hour-long run wants every mistake named at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fine_tuning.cli.settings.catalogue import Catalogue, Setting, Written, did_you_mean

LONG_DASHES = ("\N{EN DASH}", "\N{EM DASH}", "\N{MINUS SIGN}", "\N{HORIZONTAL BAR}")
TRUTHS = ("true", "false", "yes", "no", "1", "0")


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting as somebody wrote it: its canonical name, where, in which words."""

    setting: Setting
    place: str
    written: Written


@dataclass(frozen=True, slots=True)
class Found:
    """What was understood and what was not; both are reported together."""

    entries: tuple[Entry, ...]
    mistakes: tuple[str, ...]


def canonical(flag: str) -> str:
    """`--lora-rank` and `--lora_rank` are the same name."""
    return flag.lstrip("-").replace("-", "_")


def read_words(words: Sequence[str], catalogue: Catalogue) -> Found:
    """Sort the words of a command line: `--name value`, `--name=value`, `--flag`, `--no_flag`."""
    entries: list[Entry] = []
    mistakes: list[str] = []
    position = valued = 0  # `valued`: where the values of a flag ended, if they did just now
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("--"):
            operand = _operand(word, catalogue, after_a_value=valued == position - 1 > 0)
            if operand is None:
                mistakes.append(_stray(word))
            else:
                entries.append(Entry(operand, word, [word]))
            continue
        flag, has_value, value = word.partition("=")
        setting, negated = _find(flag, catalogue)
        if setting is None:
            values = [] if has_value else _following(words[position:], True)
            position += len(values)
            mistakes.append(unknown(flag, catalogue))
            continue
        if has_value and negated:
            mistakes.append(f"{flag} takes no value; it says no by its name.")
            continue
        if has_value:
            values = [value]
        elif negated or (setting.is_bool and " ".join(words[position:][:1]).lower() not in TRUTHS):
            values = ["false" if negated else "true"]
        else:
            values = _following(words[position:], setting.is_many)
            valued = position = position + len(values)
            values = values or ([setting.alone] if setting.alone else [])
        if values:
            entries.append(Entry(setting, flag, values))
        else:
            mistakes.append(f"{flag} needs a value: {setting.help}.")
    return Found(tuple(entries), tuple(mistakes))


def unknown(flag: str, catalogue: Catalogue) -> str:
    """A name that neither we nor the engine know."""
    name = canonical(flag)
    if not name:
        return f"`{flag}` alone names no flag."
    if name in catalogue.elsewhere:
        return f"{flag} is a flag of `{catalogue.elsewhere[name]}`, not of this command."
    return f"{flag} is not a setting.{did_you_mean(catalogue.nearest(name))}"


def _operand(word: str, catalogue: Catalogue, *, after_a_value: bool) -> Setting | None:
    """What a word without a flag is. Where a flag says the same, a word after the value of another
    flag is rather the rest of that value, whose quotes were forgotten."""
    operand = catalogue.operand
    if operand is None or word.startswith(("-", *LONG_DASHES)):
        return None
    unsure = after_a_value or word.endswith((".yaml", ".yml"))
    return None if unsure and catalogue.find(operand.name) is not None else operand


def _find(flag: str, catalogue: Catalogue) -> tuple[Setting | None, bool]:
    name = canonical(flag)
    if not name:
        return None, False
    setting = catalogue.find(name)
    if setting is None and name.startswith("no_"):
        positive = catalogue.find(name.removeprefix("no_"))
        if positive is not None and positive.is_bool:
            return positive, True
    return setting, False


def _following(words: Sequence[str], many: bool) -> list[str]:
    """The values after a flag: up to the next flag (`-1` is a value, `--x` is not)."""
    values: list[str] = []
    for word in words:
        if word.startswith(("--", *LONG_DASHES)) or (values and not many):
            break
        values.append(word)
    return values


def _stray(word: str) -> str:
    if word.endswith((".yaml", ".yml")):
        return f"{word!r} stands alone. A settings file is given as --config {word}."
    if word.startswith(LONG_DASHES):
        flag = word.lstrip("-" + "".join(LONG_DASHES))
        return f"{word!r} begins with a long dash, as word processors write it: --{flag} is meant."
    if word.startswith("-") and len(word) > 1:
        return f"{word!r} is not a flag. Flags begin with two dashes: -{word}."
    return f"{word!r} belongs to no flag. A value that contains spaces needs quotes."
