"""One job as the pipeline carries it, and the small steps between its stages."""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning import demo, report
from fine_tuning.dataset import register
from fine_tuning.dataset.fit import CUT_TURNS, OVERLONG, TRUNCATED, fit_rows
from fine_tuning.dataset.insight.rows import read_origins
from fine_tuning.dataset.stages import default_stage, stage_mismatch
from fine_tuning.dataset.types import CheckedData, SplitData
from fine_tuning.engine.launch import Worker
from fine_tuning.engine.model_source import is_local, model_location
from fine_tuning.engine.plan.settings import Plan
from fine_tuning.errors import EngineError, RunConflict, UsageError
from fine_tuning.report.scores import score_row
from fine_tuning.run_folder import (
    FREE,
    RunFolder,
    fingerprint,
    from_json,
    set_aside,
    settle,
    to_json,
)
from fine_tuning.screen import ProblemGroup, Screen, Source
from fine_tuning.spec import RunSpec

OUTCOMES = {
    OVERLONG: "longer than the cutoff even in their first round, dropped",
    CUT_TURNS: "longer than the cutoff, only the rounds that fit are kept",
    TRUNCATED: "longer than the cutoff, cut off by the engine",
    "duplicate": "repeats of another row, dropped",
    "leak": "also in the validation data, dropped from training",
    "mix": "left out by the weights of --mix",
}


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
    def is_first_node(self) -> bool:
        """Whether this node saves, scores and merges."""
        return self.spec.node_rank == 0


def open_job(spec: RunSpec, *, sources: Mapping[str, Source], screen: Screen, command: str) -> Job:
    """Find the run's folder and fill in the demo model and the bundled sample."""
    spec = anchored(spec)
    if spec.output_dir is not None and (spec.output_dir / "run.json").exists():
        folder = RunFolder(spec.output_dir)
        folder.load()
        if not spec.restart:
            spec = settle(spec, frozenset(sources), folder.record)
    spec = with_bundled(spec, screen)
    output_dir = spec.output_dir or default_output_dir(spec)
    if spec.node_rank > 0:
        output_dir = output_dir / f"node-{spec.node_rank}"
    spec = spec.replace(output_dir=output_dir)
    if spec.restart:
        aside = set_aside(output_dir)
        if aside:
            screen.say(f"The old run was moved to {aside}.")
    return Job(
        spec=spec,
        sources=sources,
        screen=screen,
        command=command,
        folder=RunFolder(output_dir),
        model=model_location(str(spec.model_name_or_path)),
    )


def settled(job: Job) -> Job:
    """The job with the settings of the run that its folder holds; they are recorded."""
    spec = job.spec
    if not spec.restart:
        spec = settle(spec, frozenset(job.sources), job.folder.record)
    record = job.folder.record
    record["command"] = job.command
    record["settings"] = to_json(spec)
    record["sources"] = {**record.get("sources", {}), **job.sources}
    record["status"] = "running"
    record.pop("failure", None)
    job.folder.save()
    return dataclasses.replace(job, spec=spec)


def anchored(spec: RunSpec) -> RunSpec:
    """The same wishes with absolute paths, so that they mean the same from any folder."""
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
        dataset_dir=spec.dataset_dir.expanduser().absolute(),
    )


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser().absolute()


def _absolute_if_local(name: str) -> str:
    path = Path(name).expanduser()
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


def environment(job: Job) -> dict[str, str]:
    """Environment of the worker: no hub requests for local models, no GPU with --use_cpu."""
    found: dict[str, str] = {}
    if is_local(job.model):
        found["HF_HUB_OFFLINE"] = "1"
    if job.spec.use_cpu:
        found["CUDA_VISIBLE_DEVICES"] = ""
    elif job.spec.nproc_per_node == 1 and job.spec.nnodes == 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        found["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0] if visible is not None else "0"
    processes = job.spec.nproc_per_node or 1
    if processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    return found


def events_to(screen: Screen) -> Callable[[Mapping[str, Any]], None]:
    """Draw the worker's events: progress of its own stages inside one request."""

    def show(event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "progress":
            facts = {name: value for name, value in event["facts"].items() if name != "stage"}
            screen.advance(event["done"], event["total"], facts=facts)
        elif kind == "stage":
            screen.end("")
            screen.begin(event["name"], event["total"], event["unit"])
        elif kind == "note":
            screen.say(event["text"])
        elif kind == "stopping":
            screen.say("Stopping after this step; a checkpoint is saved. Ctrl-C again kills.")

    return show


def model_arguments(spec: RunSpec) -> dict[str, Any]:
    """Passed-through arguments that decide how the tokenizer is loaded."""
    names = (
        "trust_remote_code",
        "use_fast_tokenizer",
        "cache_dir",
        "model_revision",
        "split_special_tokens",
        "add_tokens",
        "add_special_tokens",
    )
    return {name: spec.engine_args[name] for name in names if name in spec.engine_args}


def template_arguments(spec: RunSpec) -> dict[str, Any]:
    """Passed-through arguments that decide how rows are rendered and masked."""
    names = ("default_system", "tool_format", "mask_history", "train_on_prompt")
    return {name: spec.engine_args[name] for name in names if name in spec.engine_args}


def refuse_changed_data(job: Job, before: Mapping[str, Any], data: CheckedData) -> None:
    """Raise RunConflict if this run was begun with other rows."""
    if not before or not job.folder.stage("train"):
        return
    old = from_json(before, CheckedData)
    if old.fingerprint == data.fingerprint:
        return
    raise RunConflict(
        f"{job.folder.path} was trained on other rows: {old.rows_kept:,} then, "
        f"{data.rows_kept:,} now, and their content differs.",
        fix="give another --output_dir, or --restart to start this run again "
        "(the old state is moved aside)",
    )


def problem_groups(data: CheckedData) -> list[ProblemGroup]:
    """The data's problems by cause, as the screen and the page show them."""
    return [
        ProblemGroup(
            code=group.code,
            count=group.count,
            message=group.message,
            first=group.first,
            suggestion=group.suggestion,
            severity=group.severity,
        )
        for group in data.problems
    ]


def stage_for(spec: RunSpec, data: CheckedData) -> str:
    """The stage that was asked for or that fits; UsageError if it does not fit the rows."""
    stage = spec.stage or default_stage(data.kind)
    mismatch = stage_mismatch(data.kind, stage)
    if mismatch or stage is None:
        raise UsageError(mismatch or "--stage is needed")
    return stage


def token_warnings(tokens: Mapping[str, Any]) -> list[str]:
    """What the look at the tokens found that a person should know before training."""
    found = []
    template = tokens["template"]
    if template["parity"] == "differs":
        at = template["difference"]["at"]
        found.append(
            f"template '{template['name'] or 'of the model'}' does not render like the model's own "
            f"chat template (first difference at token {at}); a server that uses the model's own "
            "would send other prompts than were trained, so the trained template is shipped"
        )
    for view in tokens["views"]:
        if view["all_masked"]:
            found.append(f"row {view['row']}: nothing is trained, every label is masked")
        elif not view["stop_trained"]:
            found.append(f"row {view['row']}: the end-of-turn token is not trained")
    return found


@dataclass(frozen=True)
class Fits:
    """What becomes of overlong rows of either part."""

    training: Any
    validation: Any


def fits(job: Job, data: CheckedData, tokens: Mapping[str, Any]) -> Fits:
    """Decide about the rows that the worker found to be over the cutoff."""
    files = [file.path for file in data.files]

    def decided(rounds: Mapping[str, list[int]], origins: Path | None) -> Any:
        if origins is None:
            return None
        return fit_rows(
            data.kind,
            {int(row): counts for row, counts in rounds.items()},
            cutoff=int(tokens["cutoff"]),
            policy=job.spec.overlong,
            origins=read_origins(origins, files),
            columns=data.columns,
        )

    return Fits(
        decided(tokens["overlong"], data.origins_path),
        decided(tokens["validation_overlong"], data.validation_origins_path),
    )


def say_split(job: Job, parts: SplitData) -> None:
    """What became of the rows, in one line each."""
    job.screen.say(f"{parts.train_rows:,} rows to train on, {parts.val_rows:,} held out.")
    for reason, count in {**parts.dropped, **parts.cut}.items():
        job.screen.warn(f"{count:,} rows: {OUTCOMES.get(reason, reason)}")
    for note in parts.notes:
        job.screen.say(note)


def entry_name(job: Job, part: str) -> str:
    """The name of one part of the data in LLaMA-Factory's dataset_info.json."""
    return register.entry_name(job.folder.path, part)


def dataset_entries(job: Job, data: CheckedData, parts: SplitData) -> dict[str, Any]:
    """LLaMA-Factory's entries of the prepared files."""
    paths = {"train": parts.train_path, "validation": parts.val_path}
    return {
        entry_name(job, part): register.dataset_entry(data.kind, data.columns, str(path))
        for part, path in paths.items()
        if path is not None
    }


def show_generated(job: Job) -> None:
    """`--dry_run`: the two generated files."""
    job.folder.record["status"] = "dry_run"
    job.folder.save()
    for path in (job.folder.dataset / "dataset_info.json", job.folder.path / "train.yaml"):
        job.screen.file(path, path.read_text(encoding="utf-8"))


def show_scores(job: Job) -> None:
    """The scores before and after, in one line each."""
    for score in report.collect(job.folder.path).scores:
        row = score_row(score)
        job.screen.say(f"{row.name}: {row.before} -> {row.after} on {row.n} held-out rows")


def template_differs(job: Job) -> bool:
    """Whether the trained template is not the one in the model's tokenizer files."""
    parity = job.folder.stage("tokens")["result"]["template"]["parity"]
    return bool(parity != "equal")


def makes_adapter(plan: Plan) -> bool:
    """Whether training leaves an adapter (else a whole model)."""
    return plan.settings["finetuning_type"] in ("lora", "oft")


def scoring(job: Job, parts: SplitData, plan: Plan) -> dict[str, Any] | None:
    """What is scored before and after; None if nothing is held out or can be answered."""
    if not parts.val_path or not parts.val_rows or not job.spec.score_samples:
        return None
    if plan.settings["stage"] not in ("sft", "pt"):
        return None
    kind = "text" if plan.settings["stage"] == "pt" else "chat"
    return {
        "rows_path": str(parts.val_path),
        "samples": job.spec.score_samples,
        "kind": kind,
    }


def inference_settings(job: Job, plan: Plan, *, tuned: bool) -> dict[str, Any]:
    """LLaMA-Factory's settings to load the base model, or the tuned one."""
    names = ("model_name_or_path", "template", "enable_thinking", "trust_remote_code", "flash_attn")
    settings = {name: plan.settings[name] for name in names if name in plan.settings}
    if not tuned:
        return settings
    settings["finetuning_type"] = plan.settings["finetuning_type"]
    if makes_adapter(plan):
        settings["adapter_name_or_path"] = str(job.folder.path)
    else:
        settings["model_name_or_path"] = str(job.folder.path)
    return settings


def export_settings(job: Job, plan: Plan) -> dict[str, Any]:
    """LLaMA-Factory's export settings; quantisation must not reach it (it cannot merge then)."""
    settings = inference_settings(job, plan, tuned=True)
    names = ("export_size", "export_device", "export_legacy_format")
    settings |= {name: plan.settings[name] for name in names if name in plan.settings}
    return {"export_size": 5, **settings}


def score(
    job: Job, worker: Worker, plan: Plan, what: Mapping[str, Any], name: str
) -> Mapping[str, Any]:
    """Score in the worker by itself, where training ran in other processes."""
    job.screen.begin(f"score_{name}", what["samples"], "rows")
    settings = inference_settings(job, plan, tuned=name == "after")
    if "quantization_bit" in plan.settings:
        settings["quantization_bit"] = plan.settings["quantization_bit"]
        settings["quantization_method"] = plan.settings["quantization_method"]
    metrics = worker.request(
        "score",
        {"settings": settings, "scoring": what, "out": str(job.folder.scores), "name": name},
        events_to(job.screen),
    )
    job.screen.end("")
    return metrics


def check_row_count(parts: SplitData, plan: Plan, result: Mapping[str, Any]) -> None:
    """Raise EngineError if the engine encoded another number of rows than we prepared."""
    counted = result.get("encoded_rows")
    packed = plan.settings.get("packing") or plan.settings.get("neat_packing")
    if counted is None or packed or plan.settings["stage"] == "pt":
        return
    if counted != parts.train_rows:
        raise EngineError(
            f"{parts.train_rows:,} rows were prepared, but LLaMA-Factory encoded {counted:,}.",
            why="rows were lost or repeated on the way; the adapter was trained on something else",
            fix="look for 'Dropped' in logs/engine.log, and please report it",
        )
