"""Trainings in this process: by our worker, and by LLaMA-Factory alone from `train.yaml`."""

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fine_tuning.dataset.prepare.register import dataset_entry, write_dataset_info
from fine_tuning.engine.plan.make import make_plan
from fine_tuning.engine.trainers import trainer_of
from fine_tuning.engine.trainers.train_yaml import train_yaml
from fine_tuning.engine.trainers.trainer import TrainSettings
from fine_tuning.values.codec import to_json
from fine_tuning.values.plan import Places, Plan, Rows
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.kinds import Kind
from fine_tuning.values.tables.objectives import OBJECTIVES
from tests.looks import MODEL, look_of

CPU = {"kind": "cpu", "names": [], "memory": [], "bf16": False, "torch": "2", "cuda": None}
COLUMNS: Mapping[Kind, set[str]] = {
    "chat": {"conversations", "system", "tools"},
    "text": {"conversations", "system", "tools"},
    "preference": {"conversations", "system", "tools", "chosen", "rejected"},
    "kto": {"conversations", "system", "tools", "label"},
}
TRAINED, HELD_OUT = 12, 4


def rows_of(kind: Kind, count: int, first: int = 0) -> list[dict[str, Any]]:
    """Canonical rows (docs/architecture.md)."""
    rows = []
    for i in range(first, first + count):
        turns = [{"from": "user", "value": f"What is {i * 37 % 101}?"}]
        answer = {"from": "assistant", "value": f"It is {i}, as 你好 {i * 7919 % 97}."}
        row: dict[str, Any] = {"conversations": [*turns, answer], "system": "", "tools": ""}
        if kind == "preference":
            row |= {"conversations": turns, "chosen": answer}
            row["rejected"] = {"from": "assistant", "value": f"No {i * 31 % 97}!"}
        elif kind == "kto":
            row["label"] = i % 2 == 0
        elif kind == "text":
            text = f"Chapter {i}. " + f"The sea has {i * 31 % 97} islands. " * 8
            row["conversations"] = [
                {"from": "user", "value": text},
                {"from": "assistant", "value": ""},
            ]
        rows.append(row)
    return rows


def write_dataset(folder: Path, kind: Kind) -> Rows:
    """Prepared rows and their `dataset_info.json`, as a run has them."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for part, rows in (
        ("train", rows_of(kind, TRAINED)),
        ("validation", rows_of(kind, HELD_OUT, TRAINED)),
    ):
        path = folder / f"{part}.jsonl"
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text("".join(lines), encoding="utf-8")
        entries[part] = dataset_entry(kind, frozenset(COLUMNS[kind]), str(path))
    write_dataset_info(folder / "dataset_info.json", entries)
    return Rows(
        kind=kind,
        stage="sft",
        train=TRAINED,
        validation=HELD_OUT,
        tokens=100 * (TRAINED + HELD_OUT),
        packed=kind == "text",
    )


def facts_of(model: Path) -> dict[str, Any]:
    """What the worker finds of a model."""
    if not (model / "config.json").exists():
        return MODEL
    from transformers import AutoConfig

    from fine_tuning.engine.worker.tokens.model_facts import model_facts

    return dict(to_json(model_facts(AutoConfig.from_pretrained(model), trust=False)))


@dataclasses.dataclass(frozen=True)
class Planned:
    """A plan, and what its trainer is given."""

    plan: Plan
    train: TrainSettings

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of `train.yaml`."""
        return self.train.by_hand


def planned(
    folder: Path, model: Path, stage: str = "sft", method: str = "lora", **wishes: Any
) -> Planned:
    """The plan of a training of two steps, with an evaluation after each."""
    evaluated = {} if OBJECTIVES[stage].online else {"eval_steps": 1}
    engine = {"max_steps": 2, "logging_steps": 1, **evaluated, **wishes.pop("engine_args", {})}
    spec = {"lora_rank": 4, "batch_size": 2, "learning_rate": 1e-2, **wishes}
    return planned_as(
        folder, model, RunSpec(stage=stage, method=method, engine_args=engine, **spec)
    )


def planned_as(folder: Path, model: Path, wished: RunSpec) -> Planned:
    """The plan of a training with these wishes, on a few rows of the kind that its stage takes."""
    stage = wished.stage or "sft"
    rows = write_dataset(folder / "dataset", OBJECTIVES[stage].takes)
    look = look_of(
        cutoff=64, overlong={}, template={"name": "qwen3_nothink"}, model=facts_of(model)
    )
    places = Places(
        run_dir=folder / "run",
        dataset_dir=folder / "dataset",
        encoded=folder / "dataset" / "encoded",
        model=str(model),
        train_name="train",
        validation_name="validation",
    )
    rows = dataclasses.replace(rows, stage=stage)
    plan = make_plan(wished, sources={}, rows=rows, look=look, devices=CPU, places=places)
    trainer = trainer_of(plan.chosen.method, plan.rows.stage)
    return Planned(plan, trainer.settings(wished, plan.chosen, plan.rows, look, places))


class Heard:
    """Events of the worker, as they were sent."""

    def __init__(self) -> None:
        from fine_tuning.engine.worker.events import Events

        self.stream = io.StringIO()
        self.events = Events(self.stream)

    def of(self, name: str) -> list[dict[str, Any]]:
        """All events of this kind."""
        sent = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [event for event in sent if event["event"] == name]


def train_here(
    folder: Path,
    plan: Planned,
    *,
    scored: bool = True,
    resume_from: str | None = None,
    heard: Heard | None = None,
) -> dict[str, Any]:
    """What the worker's training gives; scored before and after."""
    from fine_tuning.engine.worker.training.train import train

    dataset, stage = Path(plan.settings["dataset_dir"]), plan.plan.rows.stage
    objective = OBJECTIVES[stage]
    held_out = str(dataset / "validation.jsonl")
    scoring: dict[str, Any] = {
        "rows_path": held_out,
        "samples": HELD_OUT,
        "kind": objective.scored,
        "reward": objective.reward,
        "beta": 0.1,
    }
    if objective.online:
        scoring["online"] = {**plan.settings["online"], **plan.train.of_worker["asked"]}
    return train(
        events=(heard or Heard()).events,
        settings=plan.train.all,
        stop_path=str(folder / "stop"),
        expected={"unit": "blocks" if stage == "pt" else "rows", "count": encoded_count(plan)},
        scoring=scoring if scored else None,
        scores_path=str(folder / "scores.json"),
        resume_from=resume_from,
    )


def encoded_count(plan: Planned) -> int | None:
    """Rows that the engine must have encoded; blocks are counted where text is packed."""
    if plan.settings["stage"] != "pt":
        return TRAINED
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(plan.settings["model_name_or_path"])
    texts = [row["conversations"][0]["value"] for row in rows_of("text", TRAINED)]
    tokens = sum(len(tokenizer.encode(text + tokenizer.eos_token)) for text in texts)
    return tokens // int(plan.settings["cutoff_len"])


def train_by_hand(folder: Path, plan: Planned) -> Path:
    """The same training by LLaMA-Factory alone, from `train.yaml` into a new directory."""
    from llamafactory.train.tuner import run_exp

    path, new = folder / "train.yaml", folder / "new"
    path.write_text(train_yaml(plan.plan, plan.train, path), encoding="utf-8")
    settings: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    run_exp({**settings, "output_dir": str(new)})
    return new


def weights_of(folder: Path) -> dict[str, Any]:
    """All weights that a training left: of an adapter or of a whole model, and the value head."""
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= load_file(path)
    return found


def largest_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Between weights of the same names."""
    assert one.keys() == other.keys() and one
    return max(float((one[name].float() - other[name].float()).abs().max()) for name in one)
