"""What is installed: in which version, and how it is imported quickly."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import inside without the garbage collector, which would look again and again through
    classes and functions that all stay: a fifth of the time that the engine's libraries take."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def installed_version(name: str) -> str | None:
    """The version of an installed package; None if it is not there."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None
