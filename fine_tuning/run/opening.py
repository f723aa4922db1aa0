"""From a user's wishes to an open run: which folder, which model, which data."""

import dataclasses
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fine_tuning import __version__, demo
from fine_tuning.disk.checkpoints import checkpoints, has_weights
from fine_tuning.disk.paths import absolute
from fine_tuning.errors import UsageError
from fine_tuning.importing import installed_version
from fine_tuning.run.folder import (
    RunFolder,
    make_directory,
    require_own_folder,
    set_aside,
)
from fine_tuning.run.record_file import read_record
from fine_tuning.run.run import Run
from fine_tuning.run.settling import settle
from fine_tuning.screen import Screen
from fine_tuning.values.codec import fingerprint, to_json
from fine_tuning.values.located import with_absolute_paths
from fine_tuning.values.record import Link, RunRecord, Stages, result_of
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import AUTO, FREE, RunSpec

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


def resolved(spec: RunSpec, *, sources: Mapping[str, Source], screen: Screen) -> RunSpec:
    """The wishes with what a run in their folder says, the demo model and the bundled sample.

    Raises UsageError for a folder that cannot be a run's; nothing is made, nothing is changed.
    """
    spec = with_absolute_paths(spec)
    if spec.output_dir is not None and not spec.restart:  # also the way on from a damaged record
        known = read_record(RunFolder(spec.output_dir))
        spec = settle(spec, frozenset(sources), known and _without_unbegun(known, spec.output_dir))
    spec = with_bundled(spec, screen)
    output_dir = spec.output_dir or default_output_dir(spec)
    if spec.node_rank > 0:
        output_dir = output_dir / f"node-{spec.node_rank}"
    require_own_folder(output_dir)
    _require_apart(spec, output_dir)
    known = None if spec.restart else read_record(RunFolder(output_dir))
    return with_export_places(spec.replace(output_dir=output_dir), known)


def with_export_places(spec: RunSpec, known: RunRecord | None) -> RunSpec:
    """The wishes with a place for all that leaves the run: where it was, or beside it."""
    stages = known.stages if known else Stages()
    merged, gguf = result_of(stages.merge), result_of(stages.gguf)
    served = result_of(stages.ollama)
    assert spec.output_dir is not None
    return spec.with_places(
        spec.output_dir,
        merged=merged.path if merged is not None and merged.path.is_dir() else None,
        gguf=gguf.files[0].path.parent if gguf is not None and gguf.files else None,
        ollama=served.name if served is not None else None,
    )


def begun_from(spec: RunSpec) -> RunRecord | None:
    """The record of the finished run that a new one shall start from; None if it has begun, or
    starts from a model. Raises UsageError if there is no such run."""
    if spec.from_run is None:
        return None
    source = absolute(spec.from_run)
    if spec.output_dir is not None and absolute(spec.output_dir) == source:
        raise UsageError(
            f"--from_run and --output_dir are both {spec.from_run}.",
            fix="give another --output_dir: the run that it starts from stays as it is",
        )
    if spec.output_dir is not None and not spec.restart:
        known = read_record(RunFolder(absolute(spec.output_dir)))
        if known is not None and (known.begun is not None or known.attempted):
            return None
    record = finished(source)
    if record is None:
        raise UsageError(
            f"--from_run {spec.from_run} holds no run.",
            fix="give the folder of a finished run; a model is given with --model_name_or_path",
        )
    return record


@contextmanager
def opened(
    spec: RunSpec,
    *,
    sources: Mapping[str, Source],
    screen: Screen,
    command: str,
    chain: tuple[Link, ...] = (),
) -> Iterator[Run]:
    """The run of a resolved spec, held while the block works in it; `chain` leads to it.

    Its record is that of the settings now, and is written if no training has begun in it.
    """
    assert spec.output_dir is not None
    folder = RunFolder(spec.output_dir)
    if not spec.dry_run:
        make_directory(spec.dataset_dir, "dataset_dir")
    if spec.restart and spec.node_rank == 0 and folder.record.exists():
        with folder.held():  # nobody else works in it
            pass
        screen.say(f"The old run was moved to {set_aside(folder.path)}.")
    with folder.kept_if_used(), folder.held():
        folder.stop_file.unlink(missing_ok=True)
        main = folder.path if spec.node_rank == 0 else folder.path.parent
        known = read_record(folder)
        kept = known and _without_unbegun(known, main)
        if known is not None and kept is not None and known.begun is not None and not kept.begun:
            screen.warn("there is no checkpoint to continue: this training starts anew.")
        if known is not None and known.place and Path(known.place) != folder.path.resolve():
            screen.say(f"This run was made in {known.place} and is continued here.")
        if not spec.restart:
            spec = settle(spec, frozenset(sources), kept)
        record = _of_command(spec, sources, command, kept)
        record = dataclasses.replace(record, chain=chain or record.chain)
        run = Run(folder=folder, screen=screen, record=record, accepted=record.begun is None)
        run.save()
        yield run


def finished(folder: Path) -> RunRecord | None:
    """The record of the run in a folder, None if there is none. Raises UsageError for a run that
    has not finished."""
    record = read_record(RunFolder(folder))
    if record is not None:
        require_finished(record, folder)
    return record


def finished_run(named: Path) -> tuple[Path, RunRecord]:
    """The folder of a finished run and its record, which are only read.

    Raises UsageError if there is no run, or if it has not finished.
    """
    run_dir = absolute(named)
    record = finished(run_dir)
    if record is None:
        raise UsageError(f"{run_dir} holds no run.", fix="give the folder of a finished run")
    return run_dir, record


def require_finished(record: RunRecord, folder: Path) -> None:
    """Raise UsageError unless the training of this run is done, and what it left is there."""
    if not record.is_trained:
        raise UsageError(
            f"The run in {folder} has not finished training.",
            fix="`run` with the same --output_dir continues it, and with --export_dir merges it",
        )
    if not has_weights(folder):
        raise UsageError(
            f"The trained weights have gone from {folder}.",
            fix="`run` with the same --output_dir takes them from the last checkpoint",
        )


def _of_command(
    spec: RunSpec, sources: Mapping[str, Source], command: str, known: RunRecord | None
) -> RunRecord:
    """The record as this command begins."""
    if known is None:
        known = RunRecord(created=time.time(), command=command, settings=spec)
    return dataclasses.replace(
        known,
        place=str(spec.output_dir and spec.output_dir.resolve()),
        command=command,
        status="running",
        failure=None,
        versions=installed_versions(),
        settings=spec,
        sources={**known.sources, **sources},
    )


def _without_unbegun(record: RunRecord, main: Path) -> RunRecord:
    """The record without a training that ended before it left anything.

    Nothing is lost if its settings change, and after an out-of-memory error at the first step
    they must. That it was attempted stays known: settings that are not given are still taken from
    the run. `main` is where checkpoints and weights lie.
    """
    if record.begun is None or record.is_trained or has_weights(main):
        return record
    if checkpoints(main, without_optimizer=bool(record.begun.get("save_only_model"))):
        return record
    return dataclasses.replace(record, begun=None, attempted=True)


def _require_apart(spec: RunSpec, output_dir: Path) -> None:
    """Raise UsageError if the run would lie in a directory that it reads as data."""
    for name in (*spec.data.dataset_path, *spec.data.mix, *spec.val_dataset_path):
        for flag, place in (("output_dir", output_dir), ("export_dir", spec.export_dir)):
            if place in (None, Path(AUTO)) or not Path(name).is_dir():
                continue
            if place.resolve().is_relative_to(Path(name).resolve()):
                raise UsageError(
                    f"--{flag} {place} lies in {name}, all files of which are read as data.",
                    fix=f"give a --{flag} elsewhere, or name the data files themselves",
                )


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a training does."""
    found = {"python": platform.python_version(), "llama-factory-fine-tuning": __version__}
    for name in DECIDING_PACKAGES:
        if version := installed_version(name):
            found[name] = version
    return found


def with_bundled(spec: RunSpec, screen: Screen) -> RunSpec:
    """The demo model and the bundled sample where the user named none; both are said."""
    if spec.model_name_or_path is None:
        screen.say("No --model_name_or_path: using the bundled demo model.")
        spec = spec.replace(model_name_or_path=str(demo.model_path()))
    if not spec.data.dataset_path and not spec.data.mix:
        wanted = "alpaca" if spec.data.dataset_format == "auto" else spec.data.dataset_format
        if wanted not in demo.SAMPLES:
            raise UsageError(
                f"There is no bundled sample of --dataset_format {wanted}.",
                fix="give your own file with --dataset_path",
            )
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
    return Path.cwd() / "runs" / f"{spec.title}-{fingerprint(wishes)[:8]}"
