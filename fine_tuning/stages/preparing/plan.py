"""plan: every open choice, with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fine_tuning.dataset.recognise.formats import WEIGHT
from fine_tuning.engine.gpus import gpus_are_hidden, require_usable_gpu
from fine_tuning.engine.plan.make import make_plan
from fine_tuning.engine.process.launch import Worker
from fine_tuning.engine.trainers.trainer import as_begun, differences
from fine_tuning.errors import RunConflict, UsageError
from fine_tuning.screen import Screen, worker_events
from fine_tuning.stages.planned import Planned
from fine_tuning.stages.preparing.refusing import refuse_untrainable
from fine_tuning.values.codec import to_json
from fine_tuning.values.data import CheckedData, SplitData
from fine_tuning.values.plan import Places, Plan, Rows
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import FREE, RunSpec
from fine_tuning.values.tables.kinds import KINDS
from fine_tuning.values.tables.objectives import OBJECTIVES, default_stage, stage_mismatch
from fine_tuning.values.tokens import TokenLook


@dataclass(frozen=True, kw_only=True)
class Decide:
    """Plan the training of these rows on the devices of this machine.

    `begun` is what the trainer was given when a training began here: it keeps its plan, also
    elsewhere, and a plan that would train something else is refused.
    """

    name: ClassVar[str] = "plan"
    spec: RunSpec
    sources: Mapping[str, Source]
    data: CheckedData
    parts: SplitData
    look: TokenLook
    places: Places
    worker: Worker
    begun: Mapping[str, Any] | None

    def inputs(self) -> tuple[Any, ...]:
        """Everything but the devices."""
        wishes = {n: value for n, value in to_json(self.spec).items() if n not in FREE}
        wishes["data"] = {n: value for n, value in wishes["data"].items() if n not in FREE}
        wishes["engine_args"] = {
            n: value for n, value in wishes["engine_args"].items() if not n.startswith("export_")
        }
        parts, look = self.parts, self.look
        counts = (parts.train_rows, parts.val_rows, look.cutoff)
        return (wishes, self.data.fingerprint, *counts, look.template)

    def holds(self, known: Plan) -> bool:
        """Before the training begins the devices may still change."""
        return self.begun is not None

    def do(self, screen: Screen) -> Plan:
        stage = stage_for(self.spec, self.data)
        refuse_untrainable(self.spec, stage, self.parts, self.look)
        devices = self.worker.request("devices", {}, worker_events(screen))
        require_usable_gpu(devices, self.spec.use_cpu, gpus_are_hidden())
        plan = make_plan(
            as_begun(self.spec, self.begun),
            sources=self.sources,
            rows=planned_rows(self.spec, self.data, self.parts, self.look, stage),
            look=self.look,
            devices=devices,
            places=self.places,
        )
        if self.begun is not None:
            planned = Planned(
                spec=self.spec,
                data=self.data,
                look=self.look,
                parts=self.parts,
                plan=plan,
                places=self.places,
            )
            refuse_another_training(self.begun, planned.settings.of_training, self.places)
        return plan

    def tell(self, result: Plan, screen: Screen, *, known: bool) -> None:
        if known:
            return
        screen.choices(result.choices)
        for warning in result.warnings:
            screen.warn(warning)


def stage_for(spec: RunSpec, data: CheckedData) -> str:
    """The stage that was asked for or that fits; UsageError if it does not fit the rows."""
    stage = spec.stage or default_stage(data.kind)
    mismatch = stage_mismatch(data.kind, stage)
    if mismatch or stage is None:
        raise UsageError(mismatch or "--stage is needed")
    return stage


def planned_rows(
    spec: RunSpec, data: CheckedData, parts: SplitData, look: TokenLook, stage: str
) -> Rows:
    """What the plan needs to know of the prepared rows.

    Of either part the engine takes at most `max_samples` (llamafactory/data/loader.py).
    """
    there = parts.train_rows + parts.val_rows
    most = int(spec.engine_args.get("max_samples") or there)
    train, validation = min(parts.train_rows, most), min(parts.val_rows, most)
    if (
        look.sequences > look.rows and not OBJECTIVES[stage].online
    ):  # history is rewritten: a row becomes several sequences
        train = round(train * look.sequences / look.rows)
    # The share of the prepared rows, by their size on disk, that is held out.
    sizes = [path.stat().st_size for path in (parts.train_path, parts.val_path) if path]
    return Rows(
        kind=data.kind,
        stage=stage,
        train=train,
        validation=validation,
        tokens=look.tokens * (train + validation) // max(1, there),
        held_out=sizes[1] / max(1, sum(sizes)) if len(sizes) > 1 else 0.0,
        # the engine by itself knows no weights; TRL is given prompts, and none of the answers
        encoded_ahead=not OBJECTIVES[stage].online
        and (look.template.ahead is not None or WEIGHT in data.columns),
        packed=not KINDS[data.kind].is_chat and spec.engine_args.get("packing") is not False,
    )


def refuse_another_training(
    begun: Mapping[str, Any], now: Mapping[str, Any], places: Places
) -> None:
    """Raise RunConflict if the plan differs from what this run has trained, but for more epochs.

    The same command can lead to another plan after an update, or on another device.
    """
    differing = [
        f"  {name}: {then} then, {new} now" for name, then, new in differences(begun, to_json(now))
    ]
    if differing:
        raise RunConflict(
            "\n".join([f"{places.run_dir} was trained with other settings:", *differing]),
            fix="give another --output_dir, or --restart to start it again "
            "(the old state is moved aside)",
        )
