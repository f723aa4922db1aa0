"""Paths as users write them."""

import glob
import re
from pathlib import Path
from urllib.parse import unquote

_PATTERN = re.compile(r"[*?\[]")


def at_home(name: str | Path) -> Path:
    """The path with `~` resolved; a `~` that is nobody's home is a name like any other."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def absolute(name: str | Path) -> Path:
    """Where a path leads from here. `a/../b` leads to b also while there is no `a`."""
    path = at_home(name).absolute()
    return path.resolve() if ".." in path.parts else path


def shared_place(path: Path) -> str:
    """What a directory is that holds more than one thing of its user can own; nothing for others.

    Such a one may look empty: a home directory that only has hidden files.
    """
    place = path.resolve()
    if place == Path(place.anchor):
        return "the root of a disk"
    home = at_home("~").resolve()
    if place == home:
        return "your home directory"
    return "a directory above your home" if home.is_relative_to(place) else ""


def shown(path: Path) -> str:
    """A path as people read it: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def expanded(word: str) -> list[str]:
    """The paths that a word means: a `file://` address is its path, and a pattern that the shell
    did not expand (it stood in quotes, or in a file) the files that fit it, part-2 before part-10.

    A word that means nothing else is given back.
    """
    if word.startswith("file://"):
        word = unquote(word.removeprefix("file://").removeprefix("localhost"))
    if not _PATTERN.search(word) or at_home(word).exists() or "://" in word:
        return [word]
    found = glob.glob(str(at_home(word)), recursive=True)  # noqa: PTH207  an absolute pattern
    return sorted(found, key=natural) or [word]


def natural(name: str) -> list[tuple[int, str]]:
    """part-2 before part-10."""
    return [(int(p), "") if p.isdecimal() else (0, p) for p in re.split(r"(\d{1,18})", name)]


def slug(name: str) -> str:
    """A name that is safe in a path and in LLaMA-Factory's comma-separated lists."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
