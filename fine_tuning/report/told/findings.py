"""What the numbers hide, as cards: a value, or a few lines with bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from fine_tuning.report.pages.shown import clip, title

_MOST_ITEMS = 12

# Findings that have a better title than their name; any other is shown under its name.
TITLES = {
    "exact_repeats": "Exact repeats",
    "near": "Near-duplicates",
    "counts": "Rows with odd content",
    "kinds": "Likely secrets and personal data",
    "languages": "Writing system of the answers",
    "labels": "Labels",
    "reasoning": "Rows with reasoning",
    "turns": "Turns per row",
    "prompt_chars": "Characters per prompt",
    "answer_chars": "Characters per answer",
    "notes": "Notes",
}
OF_USER = {"labels"}  # whose keys are the data's own
# Said elsewhere on the page, or of no use to its reader.
HIDDEN = {"rows", "seconds"}

Item = tuple[str, str, float | None]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One card: a value, or items as (label, text, length of the bar from 0 to 1 or None)."""

    title: str
    value: str = ""
    items: tuple[Item, ...] = ()
    more: int = 0
    of_user: bool = False  # the labels are the data's own


def finding_cards(found: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Findings of any shape; the known ones first, empty ones are left out."""
    known = [name for name in TITLES if name in found]
    others = [name for name in found if name not in TITLES and name not in HIDDEN]
    return tuple(
        replace(_finding(TITLES.get(name, title(name)), found[name]), of_user=name in OF_USER)
        for name in (*known, *others)
        if found[name] not in (None, {}, [], ())
    )


def _finding(name: str, value: Any) -> Finding:
    if isinstance(value, Mapping):
        items = _distribution(value) or _items(value)
    elif _is_list(value):
        items = [("", _plain(item), None) for item in value]
    else:
        return Finding(title=name, value=_plain(value))
    more = max(0, len(items) - _MOST_ITEMS)
    return Finding(title=name, items=tuple(items[:_MOST_ITEMS]), more=more)


@dataclass(frozen=True, kw_only=True)
class Bin:
    """So many rows have a length from `least` to `most`."""

    least: int
    most: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """The lengths of something, as they are written in a report."""

    histogram: tuple[Bin, ...]
    percentiles: Mapping[str, float] = field(default_factory=dict)
    longest: int | None = None


def _distribution(value: Mapping[str, Any]) -> list[Item] | None:
    """One bar for each bin with rows, then median and longest; None if it is another finding."""
    try:
        lengths = msgspec.convert(value, Distribution)
    except msgspec.ValidationError:
        return None
    bins = [item for item in lengths.histogram if item.rows > 0]
    most = max((item.rows for item in bins), default=1)
    items: list[Item] = [
        (f"{item.least:,} to {item.most:,}", f"{item.rows:,}", item.rows / most) for item in bins
    ]
    if (median := lengths.percentiles.get("p50")) is not None:
        items.append(("median", _plain(int(median) if median == int(median) else median), None))
    if lengths.longest is not None:
        items.append(("longest", _plain(lengths.longest), None))
    return items


def _items(value: Mapping[str, Any]) -> list[Item]:
    """Counts of several things get a bar, measured against their sum."""
    shown = {key: item for key, item in value.items() if key != "seconds"}
    counts = [item for item in shown.values() if type(item) is int and item >= 0]
    total = sum(counts) if len(counts) == len(shown) > 1 else 0
    return [
        (str(key).replace("_", " "), _plain(item), item / total if total else None)
        for key, item in shown.items()
    ]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return clip(", ".join(f"{key}: {_plain(item)}" for key, item in value.items()), 300)
    if _is_list(value):
        return clip(", ".join(_plain(item) for item in value), 300)
    return clip(str(value), 300)
