"""The model hubs: which one is asked, and how far a download is.

Both clients can be told whom to report their bytes to; neither needs torch.
"""

import io
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from threading import Lock
from typing import Any

_TRUE = ("1", "true", "yes", "on", "y")
Tell = Callable[[int], None]  # bytes so far, of all files together
OnBytes = Callable[[int, int], None]  # bytes so far, bytes in all


def in_silence(done: int, total: int) -> None:
    """Nobody watches the download."""


def on_modelscope() -> bool:
    """Whether names mean ModelScope's repositories (LLaMA-Factory's own switch)."""
    return _is_on("USE_MODELSCOPE_HUB")


def on_openmind() -> bool:
    """Whether names mean repositories of openMind, which only LLaMA-Factory speaks to."""
    return _is_on("USE_OPENMIND_HUB")


def is_offline() -> bool:
    """Whether the user forbids asking a hub."""
    return _is_on("HF_HUB_OFFLINE") or _is_on("TRANSFORMERS_OFFLINE")


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").lower() in _TRUE


def endpoint() -> str | None:
    """The mirror that the user named, or None for the Hub itself."""
    return os.environ.get("HF_ENDPOINT") or None


def escaped(file: str) -> str:
    """A file name as a pattern that matches only itself."""
    return re.sub(r"([*?\[])", r"[\1]", file)


class _Sum:
    """Bytes of several files that are fetched at the same time."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._lock, self._bytes = tell, Lock(), 0

    def add(self, size: float) -> None:
        with self._lock:
            self._bytes += int(size)
            self._tell(self._bytes)


def hugging_face_meter(tell: Tell) -> type[Any]:
    """A `tqdm_class` for `huggingface_hub.snapshot_download` that draws nothing and reports bytes.

    The client makes three bars: files, bytes received, and bytes that arrived in their file; the
    last one counts (`_snapshot_download.py`), told from the others by its unit and description.
    """
    from tqdm.auto import tqdm

    total = _Sum(tell)

    class Meter(tqdm):  # type: ignore[misc]  # tqdm is not typed
        def __init__(self, *arguments: Any, **known: Any) -> None:
            self._counts = known.get("unit") == "B" and "Reconstruct" in str(known.get("desc"))
            super().__init__(*arguments, **{**known, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts:
                total.add(n or 0)
            return None

    return Meter


def modelscope_meter(tell: Tell) -> type[Any]:
    """The same as a callback of ModelScope's client, which makes one for each file."""
    from modelscope_hub import ProgressCallback

    total = _Sum(tell)

    class Meter(ProgressCallback):
        def update(self, size: int) -> None:
            total.add(size)

    return Meter


@contextmanager
def quiet_modelscope() -> Iterator[None]:
    """ModelScope's client logs each request and draws a bar that nothing turns off."""
    logging.getLogger("modelscope_hub").setLevel(logging.ERROR)
    with redirect_stderr(io.StringIO()):
        yield
