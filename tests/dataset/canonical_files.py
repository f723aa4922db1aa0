"""Canonical rows on disk, as the structural check leaves them, for tests."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning.values.data import CheckedData, FileAccount
from fine_tuning.values.tables.kinds import Kind


def chat(*turns: str, system: str = "") -> dict[str, Any]:
    """A conversation: user and assistant by turns."""
    roles = ("user", "assistant")
    return {
        "conversations": [
            {"from": roles[place % 2], "value": value} for place, value in enumerate(turns)
        ],
        "system": system,
        "tools": "",
    }


def write_canonical(
    path: Path, rows: Sequence[Mapping[str, Any]], file_of: Sequence[int] | None = None
) -> Path:
    """Writes rows, and their origins beside them: row i stood on line i + 1. Gives the origins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    origins = path.with_suffix(".origins")
    files = file_of or [0] * len(rows)
    origins.write_bytes(b"".join(struct.pack("<IQ", f, i + 1) for i, f in enumerate(files)))
    return origins


def checked_data(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    validation: Sequence[Mapping[str, Any]] = (),
    files: Sequence[str] = ("data.jsonl",),
    file_of: Sequence[int] | None = None,
    kind: Kind = "chat",
) -> CheckedData:
    """The value that the structural check would give for these rows."""
    path = folder / "rows.jsonl"
    origins = write_canonical(path, rows, file_of)
    val_path = folder / "given.jsonl" if validation else None
    val_origins = write_canonical(val_path, validation) if val_path else None
    return CheckedData(
        format="sharegpt",
        kind=kind,
        files=tuple(_account(file, kind) for file in files),
        rows_read=len(rows) + len(validation),
        rows_kept=len(rows) + len(validation),
        rows_dropped=0,
        rows_path=path,
        origins_path=origins,
        report_path=folder / "report.json",
        rejected_path=folder / "rejected.jsonl",
        fingerprint="",
        validation_path=val_path,
        validation_origins_path=val_origins,
        validation_rows=len(validation),
    )


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _account(path: str, kind: Kind) -> FileAccount:
    return FileAccount(
        path=path,
        format="sharegpt",
        kind=kind,
        encoding="utf-8",
        sha256="",
        rows_read=0,
        rows_kept=0,
        rows_dropped=0,
    )
