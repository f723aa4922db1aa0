"""A run as a link of the chain in which each run starts from the model of the one before."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fine_tuning.disk import hashes
from fine_tuning.disk.paths import shown
from fine_tuning.values.codec import fingerprint
from fine_tuning.values.record import Link, RunRecord
from fine_tuning.values.tables.kinds import KINDS

WEIGHTS = (".safetensors", ".bin")


def link_of(run_dir: Path, record: RunRecord, scores: Sequence[str]) -> Link:
    """A run that has finished its training; `scores` are its lines."""
    stages, spec = record.stages, record.settings
    assert stages.plan and stages.split and stages.tokens
    plan, look = stages.plan.result, stages.tokens.result
    return Link(
        run=str(run_dir),
        stage=plan.rows.stage,
        method=plan.chosen.method,
        model=str(spec.model_name_or_path),
        data=spec.data.dataset_path or tuple(spec.data.mix),
        rows=stages.split.result.train_rows,
        epochs=spec.epochs,
        created=record.created,
        scores=tuple(scores),
        weights=weights_of(run_dir),
        chat_template=look.template.fingerprint if KINDS[plan.rows.kind].is_chat else None,
    )


def weights_of(run_dir: Path) -> str:
    """By the hash that was noted when they were written: of one file its SHA-256, as `sha256sum`
    gives it, of several that of their hashes."""
    known = {
        name: digest
        for name, digest in hashes.known(run_dir).items()
        if Path(name).suffix in WEIGHTS and "/" not in name
    }
    whole = next(iter(known.values())) if len(known) == 1 else fingerprint(known)
    return whole[:12] if known else ""


def shown_link(link: Link) -> Link:
    """The same with paths as people write them."""
    data = tuple(shown(Path(path)) if Path(path).is_absolute() else path for path in link.data)
    return replace(link, run=shown(Path(link.run)), data=data)
