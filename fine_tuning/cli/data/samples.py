"""The bundled samples, prepared and registered, so that LLaMA Board lists them."""

import json
from pathlib import Path

from fine_tuning import demo
from fine_tuning.dataset.check import check
from fine_tuning.dataset.prepare.register import DATASET_INFO, dataset_entry, register
from fine_tuning.values.spec import DataSpec


def register_samples(dataset_dir: Path) -> tuple[str, ...]:
    """Prepare the bundled samples that are not registered yet; gives the names of the new ones.

    Board reads canonical rows only: the raw samples are in formats that LLaMA-Factory would read
    with losses (docs/data.md).
    """
    folder = dataset_dir.absolute()
    known = _registered(folder / DATASET_INFO)
    entries = {}
    for form in demo.SAMPLES:
        if form == "auto":
            continue
        name, sample = f"sample_{form}", demo.sample_path(form)
        rows = folder / "prepared" / name / "rows.jsonl"
        if name in known and rows.is_file() and rows.stat().st_mtime >= sample.stat().st_mtime:
            continue
        spec = DataSpec(dataset_path=(str(sample),), near_duplicates=False)
        data = check(spec, out_dir=rows.parent)
        entries[name] = dataset_entry(data.kind, data.columns, str(data.rows_path))
    if entries:
        register(folder, entries)
    return tuple(entries)


def _registered(info: Path) -> frozenset[str]:
    try:
        return frozenset(json.loads(info.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError):  # register() says what is wrong with the file
        return frozenset()
