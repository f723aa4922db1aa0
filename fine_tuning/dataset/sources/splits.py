"""Which split a file belongs to, as its name and the names of its folders say it."""

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from fine_tuning.dataset.sources.source import Source

# The names of splits; `valid`, `dev` and `eval` rows are for validation, `holdout` ones for a test.
NAMES = {
    "test": ("test", "tests", "testing", "holdout", "hold_out", "held_out", "heldout", "unseen"),
    "validation": (
        "validation",
        "valid",
        "val",
        "dev",
        "devel",
        "development",
        "eval",
        "evaluation",
    ),
    "train": ("train", "training", "trn"),
}
_WITHIN = {
    role: re.compile(rf"(?:^|[^a-z])(?:{'|'.join(names)})(?:[^a-z]|$)")
    for role, names in NAMES.items()
}
# The whole name is that of a split, or of a shard of one: test.jsonl, test-00000-of-00002.parquet.
_WHOLE = {
    role: re.compile(
        rf"(?:{'|'.join(names)})(?:[-_.]?(?:split|set|data))?(?:[-_.]?\d+)?(?:[-_.]of[-_.]\d+)?"
    )
    for role, names in NAMES.items()
}
_MOST = 4


def split_of_name(name: str) -> str:
    """`train`, `validation` or `test` as a file or split name says it, or nothing."""
    text = name.lower()
    return next((role for role, names in _WITHIN.items() if names.search(text)), "")


def _whole_split(name: str) -> str:
    text = name.lower().split(".")[0]
    return next((role for role, names in _WHOLE.items() if names.fullmatch(text)), "")


def with_splits(sources: Sequence[Source], base: Path, *, named: bool) -> list[Source]:
    """The sources with their splits; test files are left out, which the first one says.

    A name counts below `base`, the file's own before its folders'. Where no file is named for
    training, only whole names of splits count (`unit_test_questions.jsonl` is no test split), and
    `named` files (each given by itself) are all for training. ValueError if a folder has no others.
    """
    roles = [_role(source, base, split_of_name) for source in sources]
    if "train" not in roles:
        roles = [_role(source, base, _whole_split) for source in sources]
        if all(roles):
            if named:
                return list(sources)
            raise ValueError(_listed([source.name for source in sources]))
    kept = [
        dataclasses.replace(source, split="validation") if role == "validation" else source
        for source, role in zip(sources, roles, strict=True)
        if role != "test"
    ]
    problems = []
    for role, code, what in (
        (
            "test",
            "split_left_out",
            "left out, as a test split (--val_dataset_path validates on it)",
        ),
        ("validation", "split_validation", "read as the validation split"),
    ):
        names = [source.name for source, its in zip(sources, roles, strict=True) if its == role]
        if names:
            problems.append((code, f"{what}: {_listed(names)}"))
    if problems:
        kept[0] = dataclasses.replace(kept[0], problems=(*kept[0].problems, *problems))
    return kept


def _role(source: Source, base: Path, split_of: Callable[[str], str]) -> str:
    inner = PurePath(os.path.relpath(source.path, base))
    parts = (inner.name, *reversed(inner.parts[:-1]))
    return next((role for part in parts if (role := split_of(part))), "")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
