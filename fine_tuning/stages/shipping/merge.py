"""merge: adapters and base become one model, which is proved to answer as they do."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fine_tuning.disk import checkpoints, files, hashes
from fine_tuning.disk.paths import shown
from fine_tuning.engine.loading import (
    TunedModel,
    export_settings,
    export_writing,
    given_adapters_upon,
)
from fine_tuning.engine.process.launch import Worker
from fine_tuning.engine.requests import patches_the_process, served_request, shipped_template
from fine_tuning.errors import UsageError
from fine_tuning.report.told import proof
from fine_tuning.screen import Screen, worker_events
from fine_tuning.ship.adapter import (
    base_of,
    chat_template_of,
    refuse_prompts,
    refuse_quantised,
    require_adapter,
    require_fitting,
)
from fine_tuning.ship.base import require_trained_on
from fine_tuning.ship.hub.license import license_files, license_of
from fine_tuning.ship.merged import is_whole, require_same, require_usable
from fine_tuning.stages.planned import planned_in
from fine_tuning.stages.preparing.model import Model
from fine_tuning.values.codec import from_json
from fine_tuning.values.record import Stages, result_of
from fine_tuning.values.results import BaseModel, Merged
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.objectives import OBJECTIVES

TRAINED_AGAIN = (
    "put the file back that was trained; or delete it, and `run` with this --output_dir gets it "
    "back from the last checkpoint"
)


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Merge `model` into the directory `target`, which appears only when it is whole.

    `trained` tells one training from another: what was merged before may be of an older one.
    `probe_rows` are rows on which the two are compared; without any, on a few sentences.
    """

    name: ClassVar[str] = "merge"
    spec: RunSpec
    target: Path
    trained: str = ""
    model: TunedModel
    trained_in: Path | None = None  # the run, or its checkpoint: it must be what was written
    checkpoint: str = ""  # its name
    scoring: Mapping[str, Any] | None = None  # of a checkpoint, which no training has scored
    base: str
    probe_rows: Path | None = None
    chat_template: str | None  # to ship instead of the base model's own
    served: Mapping[str, Any] | None = None  # how the rows were encoded ahead
    worker: Worker
    fresh_worker: bool = False

    @property
    def writing(self) -> Mapping[str, Any]:
        """How the model is written to files."""
        return writing_of(self.spec)

    def inputs(self) -> tuple[Any, ...]:
        return (str(self.target), self.trained, self.writing)

    def holds(self, known: Merged) -> bool:
        """The directory still holds a whole model. Raises DataError if it is not what was merged:
        nothing is written over it."""
        if not is_whole(self.target):
            return False
        again = f"move {self.target} away and repeat the command: it is merged again"
        hashes.require_unchanged(self.target, again, hashes=known.hashes)
        return True

    def do(self, screen: Screen) -> Merged:
        if self.trained_in is not None:
            again = "give another --checkpoint" if self.checkpoint else TRAINED_AGAIN
            hashes.require_unchanged(self.trained_in, again)
        adapters = list(map(Path, self.model.adapters))
        for place, adapter in enumerate(adapters):
            require_trained_on(adapter, Path(self.base), adapters[:place])
        request = {
            "settings": export_settings(self.model, self.spec),
            "base": self.base,
            "probe_rows": str(self.probe_rows) if self.probe_rows else None,
            "chat_template": self.chat_template,
            "served": self.served,
            "merge_in": self.spec.merge_in,
        }
        folder, named = Path(self.base), str(self.spec.model_name_or_path or "")
        is_name = bool(named) and not Path(named).is_dir() and not Path(named).is_absolute()
        license = license_of(
            folder if folder.is_dir() else None,
            named if is_name else None,
            self.spec.engine_args.get("model_revision"),
        )
        screen.say(f"The base model's license: {license.text}")
        if naming := license.naming(self.target.name):
            screen.warn(naming)
        if self.fresh_worker:
            self.worker.restart()
        with files.written_whole(self.target) as partial:
            scores = self._scored(screen)
            screen.begin("merge")
            asked = {**request, "partial_dir": str(partial)}
            result = self.worker.request("merge", asked, worker_events(screen))
            for path in license_files(folder):
                shutil.copy(path, partial / path.name)
            shards = hashes.of_files(partial)
        screen.end(f"it is in {shown(self.target)}")
        made = {
            "path": self.target,
            "writing": self.writing,
            "hashes": shards,
            "checkpoint": self.checkpoint,
            "scores": scores,
        }
        return from_json({**result, **made}, Merged)

    def _scored(self, screen: Screen) -> Mapping[str, Any]:
        """The scores of a checkpoint on the held-out rows, as those of the end of the training."""
        if self.scoring is None or self.trained_in is None:
            return {}
        screen.begin("score_after", self.scoring["samples"], "rows")
        request = {
            "settings": {**self.model.loading, **self.model.quantization},
            "scoring": self.scoring,
            "out": str(self.trained_in / "scores.json"),
            "name": "after",
        }
        scores = self.worker.request("score", request, worker_events(screen))
        screen.end(self.checkpoint)
        return scores

    def tell(self, result: Merged, screen: Screen, *, known: bool) -> None:
        if known:
            screen.say(f"The merged model is already in {shown(self.target)}.")
        if result.checkpoint:
            screen.say(checkpoint_text(result))
        if result.proof is not None and not known:
            tell = screen.say if proof.is_whole(result.proof) else screen.warn
            tell(proof.proof_text(result.proof))
        if result.rewards is not None and not known:
            tell = screen.say if result.rewards.same_ids else screen.warn
            tell(proof.rewards_text(result.rewards))


def of_run(spec: RunSpec, run_dir: Path, stages: Stages, worker: Worker) -> Merge | None:
    """The merge of what the record says was trained, with the settings of that time, into
    `--export_dir`; None without it."""
    target = spec.export_dir
    if target is None:
        return None
    assert stages.train is not None
    planned = planned_in(run_dir, stages, spec)
    probe = planned.parts.val_path or planned.parts.train_path
    folder = checkpoints.chosen(run_dir, spec.checkpoint) if spec.checkpoint else run_dir
    return Merge(
        spec=spec,
        target=target,
        trained=f"{stages.train.inputs} {stages.train.began}",
        model=planned.tuned(folder),
        trained_in=folder,
        checkpoint=folder.name if spec.checkpoint else "",
        scoring=planned.scoring if spec.checkpoint else None,
        base=planned.places.model,
        probe_rows=probe if probe.exists() else None,
        chat_template=shipped_template(planned.look.template),
        served=served_request(planned.look.template),
        worker=worker,
        fresh_worker=patches_the_process(planned.settings.by_hand),
    )


def of_adapters(spec: RunSpec, base: BaseModel, adapters: Sequence[Path], worker: Worker) -> Merge:
    """The merge of adapters that somebody else trained, one upon the other, into their base.

    The chat template is that of the last adapter's folder, if it brings one, else the base's.
    """
    assert spec.export_dir is not None
    return Merge(
        spec=spec,
        target=spec.export_dir,
        model=given_adapters_upon(spec, base.location, adapters),
        base=base.location,
        chat_template=chat_template_of(adapters[-1]),
        worker=worker,
    )


def base_of_adapters(spec: RunSpec, adapters: Sequence[Path], screen: Screen) -> BaseModel:
    """The base model of adapters that somebody else trained, found or fetched.

    Raises before anything is fetched or loaded for what cannot be merged: ModelError, UsageError.
    """
    for adapter in adapters:
        require_adapter(adapter)
        refuse_prompts(adapter)
        if spec.export_dir is not None:
            require_usable(spec.export_dir, adapter)
    base = spec.model_name_or_path or base_of(adapters[0])
    if base is None:
        raise UsageError(
            f"{adapters[0]} does not say of which model it is.", fix="add --model_name_or_path"
        )
    screen.say(f"Base model: {base}.")
    model = Model(spec=spec.replace(model_name_or_path=base)).do(screen)
    place = Path(model.location)
    if spec.export_dir is not None:
        refuse_quantised(place)
    for adapter in adapters:
        require_fitting(adapter, place)
    return model


def checkpoint_text(result: Merged) -> str:
    """Which checkpoint it is, and how it scores."""
    known = [
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in result.scores.items()
        if value is not None and name in ("exact_match", "loss", "accuracy", "margin")
    ]
    scored = f" On the held-out rows: {', '.join(known)}." if known else ""
    return f"It is {result.checkpoint} of the run, not the end of its training.{scored}"


def writing_of(spec: RunSpec) -> dict[str, Any]:
    """How the model is written, and what of the run it is, if not the end of the training."""
    chosen = {"checkpoint": spec.checkpoint} if spec.checkpoint else {}
    return {**export_writing(spec), **chosen}


def refuse_base(spec: RunSpec, location: str) -> None:
    """Raise ModelError before a training if what it leaves could not be merged into this base."""
    if spec.export_dir is not None:
        refuse_quantised(Path(location))


def refuse_used(spec: RunSpec, run_dir: Path, stages: Stages) -> None:
    """Raise before the training for an export that cannot be made after it."""
    plan = result_of(stages.plan)
    stage = plan.rows.stage if plan else spec.stage
    if (spec.gguf or spec.ollama) and stage is not None and not OBJECTIVES[stage].answers:
        name = "gguf" if spec.gguf else "ollama"
        raise UsageError(
            f"--{name} writes models that answer, and a reward model gives scores.",
            fix="leave it out; --export_dir writes what Transformers, TRL and vLLM load",
        )
    target = spec.export_dir
    if target is None:
        return
    if spec.checkpoint and spec.engine_args.get("pissa_init"):
        raise UsageError(
            f"--checkpoint {spec.checkpoint}: what PiSSA saves on its way fits no base model.",
            fix="leave --checkpoint out: the end of the training is merged",
        )
    if spec.checkpoint and stages.train is not None:
        checkpoints.chosen(run_dir, spec.checkpoint)
    known, trained = result_of(stages.merge), result_of(stages.train)
    merged = known if known is not None and known.path == target and is_whole(target) else None
    if merged is None or trained is None or trained.epochs != spec.epochs:
        require_usable(target, run_dir)
    else:
        require_same(target, merged.writing, writing_of(spec))
