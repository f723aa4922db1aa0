"""judge: which reward model gives conversations their scores, by what a run recorded, or by what
the user named."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning.disk.paths import shown
from fine_tuning.engine.process.launch import Worker
from fine_tuning.engine.requests import model_arguments, served_request
from fine_tuning.errors import UsageError
from fine_tuning.screen import Screen, worker_events
from fine_tuning.stages.planned import planned_in
from fine_tuning.stages.preparing.model import Model
from fine_tuning.values.answers.scores import Rewards
from fine_tuning.values.located import with_absolute_paths
from fine_tuning.values.record import RunRecord, result_of
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tables.rewards import read_reward

HEAD = "value_head.safetensors"


@dataclass(frozen=True, kw_only=True)
class RewardModel:
    """A reward model as the worker loads it (engine/worker/scoring/rewards/judge.py: judge_of)."""

    name: str
    settings: Mapping[str, Any]
    served: Mapping[str, Any] | None = None  # how the rows of its training were encoded ahead


def of_run(record: RunRecord, run_dir: Path, screen: Screen) -> RewardModel:
    """That of a finished run, as it was trained. Raises UsageError for a run of another stage."""
    plan = result_of(record.stages.plan)
    assert plan is not None  # it has finished its training
    if OBJECTIVES[plan.rows.stage].reward != "head":
        raise UsageError(
            f"The run in {shown(run_dir)} is of --stage {plan.rows.stage}: it trained a model that "
            "answers, and no reward model.",
            fix="give a run of --stage rm",
        )
    location = Model(spec=record.settings).do(screen).location
    planned = planned_in(run_dir, record.stages, record.settings, location=location)
    tuned = planned.tuned()
    return RewardModel(
        name=str(run_dir),
        settings={**tuned.loading, **tuned.quantization, "stage": tuned.stage},
        served=served_request(planned.look.template),
    )


def of_named(spec: RunSpec, screen: Screen) -> RewardModel:
    """A classifier with one label, in a directory or of a hub. Raises UsageError for a folder with
    a value head, which only the run that trained it can use."""
    spec = with_absolute_paths(spec)
    name = str(spec.model_name_or_path)
    if (Path(name) / HEAD).exists():
        raise UsageError(
            f"{name} holds a model with a value head, which only LLaMA-Factory reads.",
            fix=f"give the run with --output_dir {name}"
            if (Path(name) / "run.json").exists()
            else f"make a classifier of it: export --adapter_name_or_path {name} "
            "--model_name_or_path BASE --export_dir DIRECTORY",
        )
    location = Model(spec=spec).do(screen).location
    return RewardModel(name=name, settings={**model_arguments(spec), "classifier": location})


def of_rewards(
    rewards: Sequence[str], finished: Callable[[Path], RunRecord | None], screen: Screen
) -> dict[str, RewardModel]:
    """Those that --reward names, by their directories: runs of --stage rm, or what such a run has
    exported. `finished` reads the record of a finished run, if there is one in a directory."""
    found = {}
    for name in (it.argument for it in map(read_reward, rewards) if it.kind == "model"):
        record = finished(Path(name))
        found[name] = (
            of_run(record, Path(name), screen)
            if record is not None
            else of_named(RunSpec(model_name_or_path=name), screen)
        )
    return found


def rewards_of(
    model: RewardModel, rows_path: Path, worker: Worker, screen: Screen
) -> list[tuple[float, ...]]:
    """Of each checked row its reward; of a comparison that of the chosen and of the rejected."""
    screen.begin("engine")
    request = {"settings": model.settings, "served": model.served, "rows_path": str(rows_path)}
    found = worker.request("judge", request, worker_events(screen))
    screen.end("")
    return [tuple(map(float, rewards)) for rewards in found["rewards"]]


def compared(rewards: list[tuple[float, ...]], labels: list[bool | None]) -> Rewards | None:
    """How well the rewards rank the answers, if rows say which are wanted."""
    if rewards and len(rewards[0]) == 2:
        better, worse = zip(*rewards, strict=True)
        return Rewards(chosen=tuple(better), rejected=tuple(worse))
    sides = [
        tuple(one[0] for one, label in zip(rewards, labels, strict=True) if label is wanted)
        for wanted in (True, False)
    ]
    if not all(sides):
        return None
    return Rewards(chosen=sides[0], rejected=sides[1], paired=False)
