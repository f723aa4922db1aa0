"""What a download from a hub is told: which files, and whom to report its bytes to.

Both clients can be told so; neither needs torch.
"""

import re
from collections.abc import Callable
from threading import Lock
from typing import Any

Tell = Callable[[int], None]  # bytes so far, of all files together
OnBytes = Callable[[int, int], None]  # bytes so far, bytes in all


def in_silence(done: int, total: int) -> None:
    """Nobody watches the download."""


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


def escaped(file: str) -> str:
    """A file name as a pattern that matches only itself."""
    return re.sub(r"([*?\[])", r"[\1]", file)
