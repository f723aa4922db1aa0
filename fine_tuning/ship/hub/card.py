"""The model card: what the model is, from which base and data, how to load it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fine_tuning.ship.hub.license import License
from fine_tuning.values.record import RunRecord, result_of
from fine_tuning.values.tables.methods import METHODS

MARK = "<!-- written by llama-factory-fine-tuning; without this line it is never overwritten -->"

WHAT = {"adapter": "An adapter for", "finetune": "A model trained from", "quantized": "A copy of"}


@dataclass(frozen=True, kw_only=True)
class Base:
    """The base model: its name on a hub (None: not known), what to call it, and its license."""

    name: str | None
    shown: str
    revision: str | None
    license: License

    @property
    def text(self) -> str:
        """Name and revision in a sentence."""
        if self.name is None:
            return f"{self.shown} (its name on a hub is not known)"
        return f"{self.name}, revision {self.revision or 'not recorded'}"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card says; `record` is None for a model whose run is not known, `copies` says that it
    is the base model itself in fewer bits."""

    repo_id: str
    is_adapter: bool
    copies: bool = False
    base: Base
    record: RunRecord | None
    scores: Sequence[str] = ()
    loading: Sequence[tuple[str, str, str]] = ()  # title, language, code
    notes: Sequence[str] = ()  # what became of its weights

    @property
    def relation(self) -> str:
        """To the base model, in the Hub's words (hub-docs, "Model cards")."""
        return "adapter" if self.is_adapter else "quantized" if self.copies else "finetune"


def card_text(card: Card) -> str:
    """The card as README.md, metadata first; read back by the Hub's own client.

    No path of this machine and no row is in it: settings are those of a list, and files of the
    data are counted and hashed, not named.
    """
    from huggingface_hub import ModelCard

    text = f"---\n{metadata(card)}\n---\n\n{MARK}\n\n" + "\n\n".join(_sections(card)) + "\n"
    return str(ModelCard(text).content)  # which parses the metadata


def metadata(card: Card) -> str:
    """The front matter, in YAML."""
    from huggingface_hub import ModelCardData

    base, record = card.base, card.record
    data = result_of(record.stages.check) if record else None
    tags = ["llama-factory", *([record.settings.method] if record else [])]
    values: dict[str, Any] = {
        "base_model": base.name,
        "base_model_relation": card.relation if base.name else None,
        "library_name": "peft" if card.is_adapter else "transformers",
        "license": base.license.name,
        "license_name": base.license.title,
        "license_link": base.license.link,
        "pipeline_tag": None if data is not None and data.media else "text-generation",
        "tags": tags,
    }
    known = {name: value for name, value in values.items() if value is not None}
    return str(ModelCardData(**known).to_yaml())


def settings_of(record: RunRecord) -> Mapping[str, object]:
    """The settings that say how it was trained; none of them can hold a path."""
    spec, plan = record.settings, result_of(record.stages.plan)
    found: dict[str, object] = {"method": spec.method, "epochs": spec.epochs, "seed": spec.seed}
    if spec.method in METHODS and METHODS[spec.method].has_rank:
        found |= {"lora_rank": spec.lora_rank, "lora_alpha": spec.lora_alpha or 2 * spec.lora_rank}
    if plan is not None:
        chosen = plan.chosen
        found |= {
            "stage": plan.rows.stage,
            "quantization": chosen.quantization,
            "precision": chosen.precision,
            "optimizer": chosen.optimizer,
            "max_seq_length": chosen.cutoff,
            "batch_size": chosen.batch,
            "gradient_accumulation_steps": chosen.accumulation,
            "processes": chosen.world,
            "learning_rate": f"{chosen.rate:g}",
            "steps": chosen.steps,
        }
    return found


def _sections(card: Card) -> list[str]:
    name = card.repo_id.rpartition("/")[2]
    by = ", trained with LLaMA-Factory" if card.record is not None else ""
    parts = [f"# {name}\n\n{WHAT[card.relation]} {card.base.text}{by}."]
    parts.append(f"## Base model\n\n- {card.base.text}\n- license: {card.base.license.text}")
    if card.notes:
        parts.append("## Quantised\n\n" + "\n".join(f"- {note}" for note in card.notes))
    if card.record is None:
        parts.append("## Training\n\nHow it was trained is not recorded beside it.")
    else:
        versions = {name: version for name, version in card.record.versions.items() if version}
        settings = [*settings_of(card.record).items(), *versions.items()]
        parts += [
            _data(card.record),
            f"## Settings\n\n{_table(('setting', 'value'), settings)}",
        ]
        told = [f"- {line}" for line in card.scores]
        parts.append("## Scores\n\n" + ("\n".join(told) or "It was not scored."))
    if card.loading:
        shown = [
            f"{title}:\n\n```{language}\n{code}\n```" for title, language, code in card.loading
        ]
        parts.append("## How to load it\n\n" + "\n\n".join(shown))
    return parts


def _data(record: RunRecord) -> str:
    data, parts = result_of(record.stages.check), result_of(record.stages.split)
    if data is None:
        return "## Data\n\nNot recorded."
    rows = [
        (number, file.format, f"{file.rows_read:,}", f"{file.rows_kept:,}", f"`{file.sha256}`")
        for number, file in enumerate(data.files, 1)
    ]
    text = f"{data.rows_kept:,} usable rows of {data.rows_read:,} (format {data.format})"
    if parts is not None:
        text += f"; {parts.train_rows:,} to train on, {parts.val_rows:,} held out"
    table = _table(("file", "format", "rows", "kept", "sha256"), rows)
    return f"## Data\n\n{text}. Fingerprint of the kept rows: `{data.fingerprint}`.\n\n{table}"


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
