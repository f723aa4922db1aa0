"""What an earlier command left in the run: what of it still holds, and what is refused."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fine_tuning import hashes
from fine_tuning.dataset.prepare.fit import TurnLengths
from fine_tuning.dataset.prepare.media_files import files_named, media_state
from fine_tuning.errors import RunConflict
from fine_tuning.job import opening
from fine_tuning.job.asking import export_writing
from fine_tuning.job.deciding import encoded_path, entry_name
from fine_tuning.job.opening import Job, missing_files
from fine_tuning.job.settling import FREE
from fine_tuning.run_folder import fingerprint, from_json, has_weights, to_json
from fine_tuning.ship.merged import is_whole, require_same, require_usable
from fine_tuning.values.data import CheckedData, SplitData
from fine_tuning.values.objectives import OBJECTIVES
from fine_tuning.values.plan import Plan
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import TokenLook

# Engine settings that say where the run lies: it may be moved or copied.
PLACES = {"output_dir", "dataset", "eval_dataset", "dataset_dir", "tokenized_path"}
# Those that follow from the number of steps (engine/plan/settings.py:interval_settings).
OF_LENGTH = {"num_train_epochs", "save_steps", "eval_steps", "logging_steps"}


def refuse_changed_data(job: Job, before: Mapping[str, Any], data: CheckedData) -> None:
    """Raise RunConflict if this run was begun with other rows."""
    if not before or not job.folder.stage("train"):
        return
    old = from_json(before, CheckedData)
    if old.fingerprint == data.fingerprint:
        return
    shutil.rmtree(job.folder.checking, ignore_errors=True)
    raise RunConflict(
        f"{job.folder.path} was trained on other rows: {old.rows_kept:,} then, "
        f"{data.rows_kept:,} now, and their content differs.",
        fix="give another --output_dir, or --restart to start this run again "
        "(the old state is moved aside)",
    )


def accepted(job: Job, data: CheckedData) -> CheckedData:
    """Make the checked rows this run's dataset; what was prepared from older ones goes.

    Until here the old dataset was untouched, so a refusal loses nothing.
    """
    checking, target = job.folder.checking, job.folder.dataset
    if target.exists():
        shutil.rmtree(target)
    checking.rename(target)
    moved: dict[str, Any] = {
        field.name: target / value.name
        for field in fields(data)
        if isinstance(value := getattr(data, field.name), Path) and value.parent == checking
    }
    job.folder.forget("tokens", "split")
    return replace(data, **moved)


def checked_before(job: Job, inputs: str) -> CheckedData | None:
    """The rows as checked before, if they lie where they were written.

    Once a training has begun its prepared rows are enough, also after the files that they came
    from have gone.
    """
    known = job.folder.result_of("check", inputs)
    gone = [name for name in missing_files(job.spec) if job.folder.stage("train")]
    if known is None and gone:
        known = job.folder.stage("check").get("result")
    if known is None:
        return None
    data = from_json(known, CheckedData)
    parts = (data.rows_path, data.origins_path, data.validation_path, data.validation_origins_path)
    if not all(path.exists() for path in parts if path is not None):
        return None
    if not gone and not _same_media(job, data):
        return None
    if gone:
        hashes.require_unchanged(data.rows_path.parent, "put the data back that it was made from")
    elif not as_written(job, data.rows_path.parent):
        return None
    if gone:
        job.screen.say(f"{', '.join(gone)} has gone: the rows that were prepared from it are used.")
    return data


def as_written(job: Job, folder: Path) -> bool:
    """Whether prepared rows are what was written; those that are not are named, and made anew."""
    wrong = hashes.changed(folder)
    for what in wrong:
        job.screen.warn(f"{folder}: {what}. It is made anew.")
    return not wrong


def _same_media(job: Job, data: CheckedData) -> bool:
    """Whether the files that the rows name are as they were when they were checked.

    Those of a finished training may have gone, unless it is to go on.
    """
    epochs = float(job.folder.stage("train").get("settings", {}).get("num_train_epochs", 0))
    if opening.is_trained(job) and job.spec.epochs <= epochs:
        named = files_named(data.rows_path, data.validation_path)
        if not all(file.exists() for file in named):
            return True
    now = media_state(data)
    return now is not None and now == job.folder.stage("check").get("media", "")


def split_inputs(spec: RunSpec, data: CheckedData, look: TokenLook) -> str:
    """A hash of all that the split depends on.

    Which rows are over the cutoff depends on model and template, also where the cutoff does not.
    """
    return fingerprint(
        data.fingerprint,
        look.cutoff,
        _by_name(look.overlong),
        _by_name(look.validation_overlong),
        spec.val_size,
        spec.seed,
        spec.overlong,
        spec.data,
    )


def _by_name(overlong: TurnLengths) -> dict[str, Sequence[int]]:
    """Rows by their numbers as text, as in `run.json`: the order of keys is part of a hash."""
    return {str(row): rounds for row, rounds in overlong.items()}


def split_before(job: Job, inputs: str) -> SplitData | None:
    """The two parts of the rows as split before, if they lie where they were written."""
    known = job.folder.result_of("split", inputs)
    if known is None:
        return None
    parts = from_json(known, SplitData)
    there = parts.train_path.exists() and (parts.val_path is None or parts.val_path.exists())
    return parts if there and as_written(job, parts.train_path.parent) else None


def is_trained(job: Job, inputs: str) -> bool:
    """Whether this training is done, and what it left is there.

    Lost weights come back from the last checkpoint, without a step.
    """
    if job.folder.result_of("train", inputs) is None:
        return False
    if has_weights(job.folder.path) or not job.is_first_node:
        return True
    job.screen.warn(f"the trained weights have gone from {job.folder.path}")
    return False


def plan_inputs(spec: RunSpec, data: CheckedData, parts: SplitData, look: TokenLook) -> str:
    """A hash of all that the plan depends on, but for the devices."""
    wishes = {name: value for name, value in to_json(spec).items() if name not in FREE}
    wishes["data"] = {k: v for k, v in wishes["data"].items() if k not in FREE}
    wishes["engine_args"] = {
        k: v for k, v in wishes["engine_args"].items() if not k.startswith("export_")
    }
    return fingerprint(
        wishes,
        data.fingerprint,
        parts.train_rows,
        parts.val_rows,
        look.cutoff,
        look.template,
    )


def training_inputs(plan: Plan, parts: SplitData) -> str:
    """A hash of all that a training depends on; not of where the run lies."""
    settings = {name: value for name, value in plan.settings.items() if name not in PLACES}
    return fingerprint(settings, parts.train_rows, parts.val_rows)


def located(job: Job, plan: Plan) -> Plan:
    """A plan that was made before, in the folder where the run lies now."""
    here = {
        "output_dir": str(job.folder.path),
        "dataset": entry_name(job, "train"),
        "eval_dataset": entry_name(job, "validation"),
        "dataset_dir": str(job.folder.dataset),
        "tokenized_path": str(encoded_path(job)),
    }
    settings, worker_settings = (
        {name: here.get(name, value) for name, value in given.items()}
        for given in (plan.settings, plan.worker_settings)
    )
    return replace(plan, settings=settings, worker_settings=worker_settings)


def refuse_another_training(job: Job, plan: Plan) -> None:
    """Raise RunConflict if the plan differs from what this run has trained, but for more epochs.

    The same command can lead to another plan after an update, or on another device.
    """
    old = job.folder.stage("train").get("settings")
    if old is None:
        return
    new = to_json(plan.settings)
    more = float(old["num_train_epochs"]) < float(new["num_train_epochs"])
    may_differ = PLACES | OF_LENGTH if more else PLACES
    differing = [
        f"  {name}: {old.get(name)} then, {new.get(name)} now"
        for name in sorted({*old, *new} - may_differ)
        if old.get(name) != new.get(name)
    ]
    if differing:
        raise RunConflict(
            "\n".join([f"{job.folder.path} was trained with other settings:", *differing]),
            fix="give another --output_dir, or --restart to start it again "
            "(the old state is moved aside)",
        )


def set_aside_damaged(job: Job) -> None:
    """Set the newest checkpoints aside until one is what was written; each is named."""
    for path in reversed(job.folder.checkpoints()):
        wrong = hashes.damage(path)
        if not wrong:
            return
        path.rename(path.with_name(f"damaged-{path.name}-{int(time.time())}"))
        job.screen.warn(f"{path.name}: {wrong}. It is set aside, and nothing continues from it.")


def resumable(job: Job, plan: Plan) -> list[Path]:
    """Complete checkpoints to continue from, oldest first.

    LLaMA-Factory cannot resume a reward model; its training starts again, and that is said.
    """
    checkpoints = job.main_folder.checkpoints()
    if not checkpoints and job.folder.stage("train"):
        job.screen.warn("there is no checkpoint to continue: this training starts anew")
    if checkpoints and not any(checkpoints[-1].glob("optimizer*")) and _is_flat(checkpoints[-1]):
        job.screen.warn(
            f"{checkpoints[-1].name} holds no optimizer state (--save_only_model): the continued "
            "training is not the one that would have gone on"
        )
    if not checkpoints or OBJECTIVES[plan.settings["stage"]].resumable:
        return checkpoints
    for path in checkpoints if job.is_first_node else ():
        path.rename(path.with_name(f"unused-{path.name}-{int(time.time())}"))
    job.screen.warn("a reward model cannot be continued: this training starts from the beginning")
    return []


def _is_flat(checkpoint: Path) -> bool:
    """Engines that split a model keep model and optimizer in folders of their own."""
    return not any(entry.is_dir() for entry in checkpoint.iterdir())


def refuse_used_export_dir(job: Job) -> None:
    """Raise before the training for an export directory that cannot be used after it."""
    target = job.spec.export_dir
    if target is None:
        return
    trained, merged = job.folder.stage("train"), job.folder.stage("merge")
    known = merged.get("result", {}).get("path") == str(target) and is_whole(target)
    epochs = trained.get("settings", {}).get("num_train_epochs")
    if not known or trained.get("state") != "done" or epochs != job.spec.epochs:
        require_usable(target, job.folder.path)
    else:
        writing = export_writing(job.spec)
        require_same(target, merged["result"].get("writing", writing), writing)
