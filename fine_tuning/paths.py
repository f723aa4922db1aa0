"""Paths as users write them."""

from pathlib import Path


def at_home(name: str | Path) -> Path:
    """The path with `~` resolved; a `~` that is nobody's home is a name like any other."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)
