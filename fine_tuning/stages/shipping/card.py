"""The model card: of what leaves a run, as it goes to a hub and as it lies beside merged models."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fine_tuning import report
from fine_tuning.disk import files
from fine_tuning.hubs import folder as hub_folder
from fine_tuning.report.told.loading import merged_code, snippets
from fine_tuning.ship.hub.card import Base, Card, card_text
from fine_tuning.ship.hub.license import license_of
from fine_tuning.values.record import RunRecord, result_of
from fine_tuning.values.results import BaseModel, Quantized
from fine_tuning.values.tables.compressed import COMPRESSED

CARD = "README.md"
Loading = tuple[str, str, str]


def base_of(record: RunRecord | None, named: str | None) -> Base:
    """The base model as the run knows it; `named` is its name on the Hub if the user says so."""
    known = result_of(record.stages.model) if record else None
    given = record.settings.engine_args.get("model_revision") if record else None
    return base_from(known, named, str(given) if given else None)


def base_from(known: BaseModel | None, named: str | None, revision: str | None) -> Base:
    """The base model with its license, which is read from its directory or asked of the Hub."""
    asked = known.name if known else ""
    folder = next(
        (
            Path(place)
            for place in (asked, known.location if known else "")
            if place and Path(place).is_dir()
        ),
        None,
    )
    is_name = bool(asked) and not Path(asked).is_dir() and not Path(asked).is_absolute()
    name = named or (asked if is_name else None)
    if folder is not None and (folder / hub_folder.NOTE).is_file():
        note = files.read_json(folder / hub_folder.NOTE, "delete it, and the revision is unknown")
        name, revision = named or str(note.get("name")), str(note.get("commit"))
    return Base(
        name=name,
        shown=name or (Path(asked).name if asked else "a base model"),
        revision=revision,
        license=license_of(folder, name, revision),
    )


def loading(
    run_dir: Path | None, record: RunRecord | None, repo_id: str, base: Base, *, is_adapter: bool
) -> list[Loading]:
    """How to load what lies in the repository or folder, as code to copy: it is no run any more."""
    if run_dir is None or record is None:
        return []
    facts = report.collect(run_dir, record)
    if facts.reward_model:  # its head is loaded from a file that must lie on the disk
        return []
    place = Path(repo_id)
    facts = replace(
        facts,
        base_model=base.name or base.shown,
        adapter_path=place if is_adapter else None,
        merged_path=None,
        gguf_paths=(),
        quantized=None,
        ollama_model="",
        model_path=None if is_adapter else place,
        adapters_before=tuple(Path(name).name for name in facts.adapters_before),
        train_yaml=None,
        command="",
    )
    return [(item.title, item.language, item.code) for item in snippets(facts)]


def write_cards(run_dir: Path, record: RunRecord) -> None:
    """A card in the run's merged model, and in the quantised one, where there is none yet."""
    made, quantized = result_of(record.stages.merge), result_of(record.stages.quantize)
    folders = [
        *([(made.path, ())] if made else []),
        *([(quantized.path, _quantized(quantized))] if quantized else []),
    ]
    missing = [(folder, notes) for folder, notes in folders if lacks_card(folder)]
    if not missing:
        return
    base, scores = base_of(record, None), report.score_lines(run_dir)
    for folder, notes in missing:
        card = Card(
            repo_id=folder.name,
            is_adapter=False,
            base=base,
            record=record,
            scores=scores,
            loading=loading(run_dir, record, folder.name, base, is_adapter=False),
            notes=notes,
        )
        files.write_text(folder / CARD, card_text(card))


def lacks_card(folder: Path) -> bool:
    """Whether a card is to be written: one that is there is of this model, or of somebody's own."""
    return folder.is_dir() and not (folder / CARD).exists()


def write_card_without_run(
    folder: Path,
    known: BaseModel,
    revision: str | None,
    quantized: Quantized | None = None,
    *,
    copies: bool = False,
) -> None:
    """A card in a model whose training is not known: a merged one, or what it was quantised to;
    `copies`: that is the base model itself."""
    kind, code = "merged" if quantized is None else "quantised", merged_code(folder.name)
    shown = [(f"The {kind} model, with Transformers", "python", code)]
    if quantized is not None:
        shown.append(("With vLLM", "shell", f"vllm serve {shlex.quote(folder.name)}"))
    card = Card(
        repo_id=folder.name,
        is_adapter=False,
        copies=copies,
        base=base_from(known, None, revision),
        record=None,
        loading=shown,
        notes=_quantized(quantized) if quantized is not None else (),
    )
    files.write_text(folder / CARD, card_text(card))


def local_card(folder: Path) -> str | None:
    """The card that lies in the folder; None if there is none."""
    path = folder / CARD
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _quantized(made: Quantized) -> Sequence[str]:
    groups = f", groups of {made.group} inputs" if made.group else ""
    notes = [
        f"weights: {COMPRESSED[made.format].title} ({made.method}{groups}), by llm-compressor; "
        "embeddings and the head are in full precision"
    ]
    if (rows := made.calibration) is not None:
        notes.append(
            f"calibrated on {rows.rows:,} training rows ({rows.tokens:,} tokens), seed {rows.seed}"
        )
    if made.verdict is not None:
        asked = made.verdict.conversations
        same = sum(one.answer == "equal" for one in asked)
        notes.append(f"{same} of {len(asked)} answers are those of the model that was trained")
    return notes
