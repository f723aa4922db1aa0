"""From a user's wishes to an open job: which folder, which model, which data."""

import dataclasses
import platform
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from fine_tuning import demo
from fine_tuning.dataset.prepare import register
from fine_tuning.dataset.read.find import refuse_missing
from fine_tuning.engine.model_hub import Wanted, require_model
from fine_tuning.engine.model_source import is_local, model_location
from fine_tuning.errors import UsageError
from fine_tuning.job.settling import FREE, settle
from fine_tuning.paths import absolute, at_home
from fine_tuning.run_folder import (
    RunFolder,
    fingerprint,
    from_json,
    make_directory,
    require_own_folder,
    set_aside,
    to_json,
)
from fine_tuning.screen import Screen
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import RunSpec

DECIDING_PACKAGES = (
    "llamafactory",
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "accelerate",
    "bitsandbytes",
    "deepspeed",
    "tokenizers",
)
# Engine arguments that may name local directories.
NAME_DIRECTORIES = ("adapter_name_or_path", "ref_model", "ref_model_adapters")
# What `settled` records of a command, before it is known whether the command can be done.
OF_THE_COMMAND = ("settings", "sources", "command", "versions", "status", "failure")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one command works on: the resolved wishes, the run's folder, the model's location."""

    spec: RunSpec
    sources: Mapping[str, Source]
    screen: Screen
    command: str
    folder: RunFolder
    model: str

    @property
    def main_folder(self) -> RunFolder:
        """The run's folder; other nodes than the first work in a folder inside it, and only read
        what the first one has recorded."""
        if self.is_first_node:
            return self.folder
        main = RunFolder(self.folder.path.parent)
        main.load()
        return main

    @property
    def is_first_node(self) -> bool:
        """Whether this node saves, scores and merges."""
        return self.spec.node_rank == 0


def open_job(spec: RunSpec, *, sources: Mapping[str, Source], screen: Screen, command: str) -> Job:
    """Find the run's folder and fill in the demo model and the bundled sample."""
    spec = anchored(spec)
    if spec.output_dir is not None and (spec.output_dir / "run.json").exists():
        folder = RunFolder(spec.output_dir)
        if not spec.restart:  # which is also the way on from a damaged record
            folder.load()
            folder.forget_unbegun_training(folder)
            spec = settle(spec, frozenset(sources), folder.record)
    spec = with_bundled(spec, screen)
    output_dir = spec.output_dir or default_output_dir(spec)
    if spec.node_rank > 0:
        output_dir = output_dir / f"node-{spec.node_rank}"
    register.refuse_patterns(str(output_dir))
    require_own_folder(output_dir)
    if not output_dir.exists():  # later, prepared rows may be enough
        refuse_missing([*spec.data.dataset_path, *spec.data.mix])
        refuse_missing(spec.val_dataset_path, "val_dataset_path")
    _require_apart(spec, output_dir)
    spec = spec.replace(output_dir=output_dir)
    model = model_location(str(spec.model_name_or_path))
    if not is_local(model):
        require_model(wanted_model(spec))
    make_directory(spec.dataset_dir, "dataset_dir")
    if spec.restart and spec.node_rank == 0 and (output_dir / "run.json").exists():
        with RunFolder(output_dir).held():  # nobody else works in it
            pass
        screen.say(f"The old run was moved to {set_aside(output_dir)}.")
    return Job(
        spec=spec,
        sources=sources,
        screen=screen,
        command=command,
        folder=RunFolder(output_dir),
        model=model,
    )


def wanted_model(spec: RunSpec, *, weights: bool = True) -> Wanted:
    """The model to fetch from a hub."""
    revision, cache_dir = (spec.engine_args.get(name) for name in ("model_revision", "cache_dir"))
    return Wanted(
        name=str(spec.model_name_or_path), revision=revision, cache_dir=cache_dir, weights=weights
    )


def _require_apart(spec: RunSpec, output_dir: Path) -> None:
    """Raise UsageError if the run would lie in a directory that it reads as data."""
    for name in (*spec.data.dataset_path, *spec.data.mix, *spec.val_dataset_path):
        for flag, place in (("output_dir", output_dir), ("export_dir", spec.export_dir)):
            if place is None or not Path(name).is_dir():
                continue
            if place.resolve().is_relative_to(Path(name).resolve()):
                raise UsageError(
                    f"--{flag} {place} lies in {name}, all files of which are read as data.",
                    fix=f"give a --{flag} elsewhere, or name the data files themselves",
                )


def settled(job: Job) -> Job:
    """The job with the settings of the run that its folder holds; they are recorded."""
    spec = job.spec
    if job.folder.forget_unbegun_training(job.main_folder):
        job.screen.warn("there is no checkpoint to continue: this training starts anew.")
    if not spec.restart:
        spec = settle(spec, frozenset(job.sources), job.folder.record)
    record = job.folder.record
    made_in = job.folder.moved_from
    if made_in is not None and Path(made_in).resolve() != job.folder.path.resolve():
        job.screen.say(f"This run was made in {made_in} and is continued here.")
    record.setdefault("created", time.time())
    record["versions"] = installed_versions()
    record["command"] = job.command
    record["settings"] = to_json(spec)
    record["sources"] = {**record.get("sources", {}), **job.sources}
    record["status"] = "running"
    record.pop("failure", None)
    job.folder.save()
    return dataclasses.replace(job, spec=spec)


def restored(job: Job, before: Mapping[str, Any]) -> bool:
    """Take back what `settled` recorded, because the command changed nothing in a trained run.

    A refused command must leave neither its settings nor its failure in the run.
    """
    if "train" not in before.get("stages", {}):
        return False
    for name in OF_THE_COMMAND:
        job.folder.record.pop(name, None)
        if name in before:
            job.folder.record[name] = before[name]
    job.folder.save()
    return True


def is_trained(job: Job) -> bool:
    """Whether nothing is left to train in this run."""
    return job.folder.stage("train").get("state") == "done"


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a training does."""
    found = {"python": platform.python_version()}
    for name in DECIDING_PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def anchored(spec: RunSpec) -> RunSpec:
    """The same wishes with absolute paths, so that they mean the same from any folder.

    Numbers get the types that they have when read back from `run.json` (`--epochs 1` is 1.0).
    """
    spec = from_json(to_json(spec), RunSpec)
    data = dataclasses.replace(
        spec.data,
        dataset_path=tuple(map(_absolute_if_local, spec.data.dataset_path)),
        mix={_absolute_if_local(path): weight for path, weight in spec.data.mix.items()},
    )
    model = spec.model_name_or_path
    return spec.replace(
        data=data,
        val_dataset_path=tuple(map(_absolute_if_local, spec.val_dataset_path)),
        model_name_or_path=_absolute_if_local(model) if model else None,
        output_dir=_absolute(spec.output_dir),
        export_dir=_absolute(spec.export_dir),
        dataset_dir=at_home(spec.dataset_dir).absolute(),
        engine_args={
            name: _each_absolute(value) if name in NAME_DIRECTORIES else value
            for name, value in spec.engine_args.items()
        },
    )


def _each_absolute(value: Any) -> Any:
    """Local directories among the names, which LLaMA-Factory separates by commas."""
    if not isinstance(value, str):
        return value
    return ",".join(_absolute_if_local(name.strip()) for name in value.split(","))


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else absolute(path)


def _absolute_if_local(name: str) -> str:
    path = at_home(name)
    return str(path.absolute()) if path.exists() else name


def with_bundled(spec: RunSpec, screen: Screen) -> RunSpec:
    """The demo model and the bundled sample where the user named none; both are said."""
    if spec.model_name_or_path is None:
        screen.say("No --model_name_or_path: using the bundled demo model.")
        spec = spec.replace(model_name_or_path=str(demo.model_path()))
    if not spec.data.dataset_path and not spec.data.mix:
        wanted = "alpaca" if spec.data.dataset_format == "auto" else spec.data.dataset_format
        sample = demo.sample_path(wanted)
        screen.say(f"No --dataset_path: using the bundled sample {sample.name}.")
        spec = spec.replace(
            data=dataclasses.replace(spec.data, dataset_path=(str(sample),), dataset_format=wanted)
        )
    return spec


def default_output_dir(spec: RunSpec) -> Path:
    """`runs/<model>-<data>-<hash>`: the same wishes find the same run again."""
    wishes = to_json(spec)
    for name in (*FREE, "epochs"):
        wishes.pop(name, None)
    model = Path(str(spec.model_name_or_path)).name
    paths = spec.data.dataset_path or tuple(spec.data.mix)
    data = Path(paths[0].rstrip("/")).name.split(".")[0]
    return Path.cwd() / "runs" / f"{slug(model)}-{slug(data)}-{fingerprint(wishes)[:8]}"


def slug(name: str) -> str:
    """A name that is safe in a path and in LLaMA-Factory's comma-separated lists."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"


def file_states(spec: RunSpec) -> list[tuple[str, int, int]]:
    """(path, bytes, modification time) of every file that the data comes from."""
    states = []
    for name in (*spec.data.dataset_path, *spec.data.mix, *spec.val_dataset_path):
        path = Path(name)
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                status = file.stat()
                states.append((str(file), status.st_size, status.st_mtime_ns))
    return states


def missing_files(spec: RunSpec) -> list[str]:
    """Files and directories of the data that were there when the run was made, and have gone."""
    names = (*spec.data.dataset_path, *spec.data.mix, *spec.val_dataset_path)
    return [name for name in names if Path(name).is_absolute() and not Path(name).exists()]
