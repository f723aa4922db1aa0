"""Collects decoded records into batches of bounded size."""

from typing import Any

from fine_tuning.dataset.read.json.record import Decoded
from fine_tuning.values.data import RecordProblem, Records, Severity

BATCH_ROWS = 4096
BATCH_BYTES = 1 << 21


class Batch:
    """Records that wait to be handed on; `take` gives them and starts anew."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._values: list[Any] = []
        self._lines: list[int] = []
        self._raw: list[bytes | None] = []
        self._problems: list[RecordProblem] = []
        self._size = 0

    def add(self, decoded: Decoded, line: int, raw: bytes | None, size: int = 0) -> None:
        """One more record; `size` is its length in bytes where `raw` is not kept."""
        for finding in decoded.findings:
            self._problems.append(
                RecordProblem(len(self._values), finding.code, finding.message, finding.severity)
            )
        self.add_clean(decoded.value, line, raw, size)

    def add_clean(self, value: Any, line: int, raw: bytes | None, size: int = 0) -> None:
        """One more record without any problem."""
        self._values.append(value)
        self._lines.append(line)
        self._raw.append(raw)
        self._size += size or len(raw or b"")

    def warn_file(self, code: str, message: str, severity: Severity = "warning") -> None:
        """A problem of the whole file."""
        self._problems.append(RecordProblem(None, code, message, severity))

    @property
    def full(self) -> bool:
        return len(self._values) >= BATCH_ROWS or self._size >= BATCH_BYTES

    @property
    def empty(self) -> bool:
        return not (self._values or self._problems)

    def take(self) -> Records:
        records = Records(self._values, self._lines, self._problems, self._raw)
        self._start()
        return records


def file_problem(code: str, message: str, severity: Severity = "error") -> Records:
    """A batch without records that names a problem of the whole file."""
    return Records((), (), (RecordProblem(None, code, message, severity),), ())
