"""The whole job, top to bottom. Read `run` first.

    read -> check -> fetch the model -> look at tokens -> split -> plan -> (encode) -> train (scored
    around) -> merge -> report

Each stage takes values and gives a value; its result is kept in `run.json`, and a stage whose
inputs have not changed is not done again.
"""

import copy
import dataclasses
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning import files, hashes, report
from fine_tuning.dataset.check import account, download, refuse_unusable
from fine_tuning.dataset.prepare import register
from fine_tuning.dataset.prepare.media_files import media_state
from fine_tuning.dataset.prepare.split import split as split_rows
from fine_tuning.dataset.prepare.split import training_places
from fine_tuning.engine.gpus import require_usable_gpu
from fine_tuning.engine.launch import Worker, run_distributed
from fine_tuning.engine.model_hub import fetch_model
from fine_tuning.engine.model_source import is_local, model_location
from fine_tuning.engine.plan.make import make_plan
from fine_tuning.engine.plan.train_yaml import train_yaml
from fine_tuning.errors import Interrupted, RowsError
from fine_tuning.job import (
    asking,
    balance,
    deciding,
    ending,
    opening,
    refusing,
    resuming,
    telling,
)
from fine_tuning.job.opening import Job
from fine_tuning.run_folder import fingerprint, from_json, to_json
from fine_tuning.screen import Screen
from fine_tuning.ship.merged import is_whole
from fine_tuning.units import counted
from fine_tuning.values.data import CheckedData, SplitData
from fine_tuning.values.plan import Plan
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import TokenLook

TRAINED_AGAIN = (
    "put the file back that was trained; or delete it, and `run` with this --output_dir gets it "
    "back from the last checkpoint"
)
MERGE_AGAIN = "move {} away and repeat the command: it is merged again"


def run(spec: RunSpec, *, sources: Mapping[str, Source], screen: Screen, command: str) -> Path:
    """Do the whole job and give the run's folder.

    `sources` says who set each setting that was given; `command` reproduces the run. Raises a
    FineTuningError with the cause and the next step; what was done until then is kept.
    """
    job = opening.open_job(spec, sources=sources, screen=screen, command=command)
    with job.folder.locked():
        before = copy.deepcopy(job.folder.record)  # its stages change while the run goes on
        job = opening.settled(job)
        with ending.recorded(job, before):
            _straight_line(job)
    return job.folder.path


def _straight_line(job: Job) -> None:
    resuming.refuse_used_export_dir(job)
    writes = job.is_first_node and not job.spec.dry_run
    with (
        files.reserved(job.spec.export_dir if writes else None),
        Worker(job.folder.log, environment=asking.environment(job.spec)) as worker,
    ):
        if not opening.is_trained(job) or job.spec.export_dir:
            worker.start()
        data = check(job)
        job = fetch(job)
        look = look_at_tokens(job, data, worker)
        parts = split(job, data, look)
        plan = decide(job, data, parts, look, worker)
        if job.spec.dry_run:
            encode(job, plan, parts, look, worker)
            telling.show_generated(job, plan)
            return
        train(job, plan, parts, look, worker)
        if job.is_first_node:
            export(job, plan, parts, look, worker)
    finish(job)


def check(job: Job) -> CheckedData:
    """Read the user's files, check every row, write the usable ones in canonical form."""
    spec, screen = job.spec, job.screen
    inputs = fingerprint(spec.data, spec.val_dataset_path, opening.file_states(spec))
    known = resuming.checked_before(job, inputs)
    if known is not None:
        screen.begin("read", None, "bytes")
        screen.end(f"{counted(known.rows_kept, 'row')}, as checked before")
        return known
    with telling.download(screen, "fetch_data", ", ".join(spec.data.dataset_path)) as on_bytes:
        download(spec.data, spec.val_dataset_path, on_bytes)
    screen.begin("read", None, "bytes")
    before = job.folder.stage("check").get("result", {})
    began = time.time()
    data = account(
        spec.data,
        out_dir=job.folder.checking,
        validation_paths=spec.val_dataset_path,
        progress=lambda at: screen.advance(at.done, at.total),
    )
    resuming.refuse_changed_data(job, before, data)
    data = resuming.accepted(job, data)
    job.folder.record["problems"] = to_json(data.problems)
    screen.end(f"{data.rows_kept:,} of {data.rows_read:,} rows are usable ({data.format})")
    screen.problems(data.problems)
    refuse_unusable(data, spec.data)
    hashes.write(job.folder.dataset, ("rows.*", "validation.*"), "xxh3_128")
    seconds = round(time.time() - began, 3)
    job.folder.mark(
        "check",
        state="done",
        inputs=inputs,
        seconds=seconds,
        media=media_state(data),
        result=to_json(data),
    )
    return data


def fetch(job: Job) -> Job:
    """A hub's model in the local cache; the job then names what the engine loads it by."""
    if is_local(job.model) or (opening.is_trained(job) and not job.spec.export_dir):
        return job
    wanted = opening.wanted_model(job.spec, weights=not job.spec.dry_run)
    with telling.download(job.screen, "fetch_model", wanted.name) as on_bytes:
        return dataclasses.replace(job, model=fetch_model(wanted, on_bytes))


def look_at_tokens(job: Job, data: CheckedData, worker: Worker) -> TokenLook:
    """Template, parity, lengths and cutoff, by the worker; no weights are loaded."""
    arguments = asking.token_request(
        job.spec, job.model, data, job.folder.dataset, show=("3", "longest")
    )
    inputs = fingerprint({**arguments, "model": arguments["name"]}, data.fingerprint)
    job.screen.begin("tokens", data.rows_kept - data.validation_rows, "rows")
    look = from_json(
        job.folder.do("tokens", inputs, lambda: _look(data, worker, arguments, job.screen)),
        TokenLook,
    )
    job.screen.end(f"{counted(look.tokens, 'token')}, the longest row has {look.longest:,}")
    for warning in telling.token_warnings(look):
        job.screen.warn(warning)
    return look


def tokens_of(
    spec: RunSpec, data: CheckedData, folder: Path, *, show: Sequence[str], screen: Screen
) -> TokenLook:
    """The same look at the tokens for `validate`, outside of any run."""
    spec = opening.anchored(spec)
    model = model_location(str(spec.model_name_or_path))
    if not is_local(model):
        wanted = opening.wanted_model(spec, weights=False)
        with telling.download(screen, "fetch_model", wanted.name) as on_bytes:
            model = fetch_model(wanted, on_bytes)
    log = folder / "logs" / "engine.log"
    screen.begin("tokens", data.rows_kept - data.validation_rows, "rows")
    with Worker(log, environment=asking.environment(spec)) as worker:
        request = asking.token_request(spec, model, data, folder, show=show)
        look = _look(data, worker, request, screen)
    screen.end(f"{counted(look.tokens, 'token')}")
    return look


def _look(
    data: CheckedData, worker: Worker, request: Mapping[str, Any], screen: Screen
) -> TokenLook:
    """The worker's answer as a value. Raises DataError if media of the rows cannot be read."""
    found = worker.request("tokens", request, telling.events_to(screen))
    look = from_json(found, TokenLook)
    refusing.refuse_unreadable(data, look)
    return look


def split(job: Job, data: CheckedData, look: TokenLook) -> SplitData:
    """Training and validation rows; overlong rows are cut or dropped, and counted."""
    spec = job.spec
    inputs = resuming.split_inputs(spec, data, look)
    known = resuming.split_before(job, inputs)
    if known is not None:
        return known
    fits = deciding.fits(job.spec, data, look)
    found = deciding.Found(job.folder.dataset / "split_problems.jsonl")
    parts = split_rows(
        data,
        out_dir=job.folder.dataset / "split",
        val_size=spec.val_size,
        seed=spec.seed,
        dedup=spec.data.dedup,
        fit=fits.training,
        validation_fit=fits.validation,
        mix=spec.data.mix,
        near_duplicates=spec.data.near_duplicates,
        problems=found.add,
    )
    deciding.name_overlong(fits, data, found)
    hashes.write(job.folder.dataset / "split", ("*",), "xxh3_128")
    job.folder.record["split_problems"] = to_json(found.close())
    job.folder.mark("split", state="done", inputs=inputs, result=to_json(parts))
    telling.say_split(job, parts)
    return parts


def decide(job: Job, data: CheckedData, parts: SplitData, look: TokenLook, worker: Worker) -> Plan:
    """Every open choice, shown; `train.yaml` and `dataset_info.json` written.

    A training that has begun keeps its plan: continued elsewhere it is still the same training.
    """
    spec, folder = job.spec, job.folder
    stage = deciding.stage_for(spec, data)
    refusing.refuse_untrainable(spec, stage, parts, look)
    entries = deciding.dataset_entries(job, data, parts)
    register.register(spec.dataset_dir, entries)
    inputs = resuming.plan_inputs(spec, data, parts, look)
    register.write_dataset_info(folder.dataset / "dataset_info.json", entries)
    known = folder.result_of("plan", inputs)
    if known is not None and folder.stage("train"):
        plan = resuming.located(job, from_json(known, Plan))
        files.write_text(folder.path / "train.yaml", train_yaml(plan, folder.path / "train.yaml"))
        return plan
    devices = worker.request("devices", {}, telling.events_to(job.screen))
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    require_usable_gpu(devices, spec.use_cpu, hidden)
    plan = make_plan(
        spec,
        sources=job.sources,
        rows=deciding.planned_rows(job, data, parts, look, stage),
        look=look,
        devices=devices,
        model_path=job.model,
        run_dir=folder.path,
    )
    resuming.refuse_another_training(job, plan)
    files.write_text(folder.path / "train.yaml", train_yaml(plan, folder.path / "train.yaml"))
    folder.record["choices"] = to_json(plan.choices)
    folder.record["warnings"] = [*telling.token_warnings(look), *plan.warnings]
    folder.mark("plan", state="done", inputs=inputs, result=to_json(plan))
    job.screen.choices(plan.choices)
    for warning in plan.warnings:
        job.screen.warn(warning)
    return plan


def encode(job: Job, plan: Plan, parts: SplitData, look: TokenLook, worker: Worker) -> None:
    """Encode rows with weights ahead: by itself the engine would train every answer.

    `train.yaml` names the result, so a training by hand finds it too.
    """
    if "tokenized_path" not in plan.settings:
        return
    target, folder = Path(plan.settings["tokenized_path"]), job.folder
    inputs = fingerprint(resuming.training_inputs(plan, parts), folder.stage("split")["inputs"])
    done = folder.result_of("encode", inputs) is not None and target.exists()
    if done and resuming.as_written(job, target):
        return
    shutil.rmtree(target, ignore_errors=True)
    if asking.forks_readers(plan, look):
        worker.restart()
    job.screen.begin("encode")
    with files.written_whole(target) as partial:
        request = asking.encode_request(plan, partial)
        result = worker.request("encode", request, telling.events_to(job.screen))
        refusing.refuse_untrained(result)
        hashes.write(partial, algorithm="xxh3_128")
    folder.mark("encode", state="done", inputs=inputs, result=result)
    job.screen.end("answers with the weight 0 are masked")
    if result["untrained"]["train"]:
        job.screen.warn(telling.untrained_text(result))


def train(job: Job, plan: Plan, parts: SplitData, look: TokenLook, worker: Worker) -> None:
    """Train with LLaMA-Factory, continuing from the last complete checkpoint if there is one."""
    folder, screen = job.folder, job.screen
    inputs = resuming.training_inputs(plan, parts)
    if resuming.is_trained(job, inputs):
        screen.say("Training is already done with these settings.")
        return
    encode(job, plan, parts, look, worker)
    folder.set_aside_incomplete_checkpoints()
    resuming.set_aside_damaged(job)
    checkpoints = resuming.resumable(job, plan)
    if checkpoints:
        screen.say(f"Continuing from {checkpoints[-1].name}.")
    began = time.time()
    mark = {"inputs": inputs, "began": began, "settings": dict(plan.settings)}
    folder.mark("train", state="running", **mark)
    request = {
        "settings": {**plan.settings, **plan.worker_settings},
        "stop_path": str(folder.stop_file),
        "resume_from": str(checkpoints[-1]) if checkpoints else None,
        "scores_path": str(folder.scores),
        "expected": balance.expected(job, parts, plan),
    }
    if asking.forks_readers(plan, look):
        worker.restart()
    under = _under_torchrun if asking.needs_torchrun(plan) else _in_the_worker
    try:
        result = under(job, plan, worker, request, asking.scoring(job, parts, plan))
    except RowsError as error:
        data = from_json(folder.stage("check")["result"], CheckedData)
        raise error.at(training_places(data, parts, error.rows)) from None
    seconds = round(time.time() - began, 3)
    if result["interrupted"]:
        folder.mark("train", state="interrupted", seconds=seconds, **mark)
        raise Interrupted(
            "Stopped, and a checkpoint is saved.", fix="the same command continues from it"
        )
    deciding.ship_template(folder.path, asking.adapter_template(look.template))
    folder.mark("train", state="done", seconds=seconds, result=result, **mark)
    telling.show_scores(job)
    if folder.stop_file.exists():
        raise Interrupted("Stopped after the training.", fix="the same command does the rest")


def _in_the_worker(
    job: Job, plan: Plan, worker: Worker, request: Mapping[str, Any], scoring: Any
) -> dict[str, Any]:
    """One process: the model that is trained is scored on the way."""
    job.screen.begin("load")
    on_event = telling.events_to(job.screen)
    result = worker.request(
        "train", {**request, "scoring": scoring}, on_event, job.folder.stop_file
    )
    job.screen.end("stopped" if result["interrupted"] else "")
    return result


def _under_torchrun(
    job: Job, plan: Plan, worker: Worker, request: Mapping[str, Any], scoring: Any
) -> dict[str, Any]:
    """Several processes; the worker scores by itself before and after, on the first node."""
    scores = scoring and job.is_first_node
    if scores and not request["resume_from"]:
        asking.score(job, worker, plan, scoring, "before")
    job.screen.begin("load")
    result = run_distributed(
        [{"stage": "train", "args": dict(request)}],
        job_path=job.folder.path / "logs" / "job.json",
        log_path=job.folder.log,
        launch=asking.launch(job.spec, plan),
        environment=asking.environment(job.spec),
        on_event=telling.events_to(job.screen),
        stop_path=job.folder.stop_file,
    )
    job.screen.end("stopped" if result["interrupted"] else "")
    if scores and not result["interrupted"]:
        asking.score(job, worker, plan, scoring, "after")
    return result


def export(job: Job, plan: Plan, parts: SplitData, look: TokenLook, worker: Worker) -> None:
    """Merge into `--export_dir`, if it was given; the directory appears only when it is whole."""
    target = job.spec.export_dir
    if target is None:
        return
    writing = asking.export_writing(job.spec)
    inputs = fingerprint(str(target), job.folder.stage("train").get("began"), writing)
    known = job.folder.result_of("merge", inputs)
    if known is not None and is_whole(target):
        hashes.require_unchanged(target, MERGE_AGAIN.format(target), hashes=known.get("hashes", {}))
        job.screen.say(f"The merged model is already in {telling.shown(target)}.")
        return
    hashes.require_unchanged(job.folder.path, TRAINED_AGAIN)
    request = {
        "settings": asking.export_settings(job, plan),
        "base": job.model,
        "probe_rows": str(parts.val_path or parts.train_path),
        "unprovable": asking.unprovable(plan),
        "chat_template": asking.shipped_template(look.template),
    }
    if asking.needs_fresh_worker(plan):
        worker.restart()
    with files.written_whole(target) as partial:
        job.screen.begin("merge")
        result = worker.request(
            "merge", {**request, "partial_dir": str(partial)}, telling.events_to(job.screen)
        )
        shards = hashes.of_files(partial)
    result |= {"path": str(target), "writing": writing, "hashes": shards}
    job.folder.mark("merge", state="done", inputs=inputs, result=result)
    job.screen.end(f"it is in {telling.shown(target)}")
    telling.show_proof(job)


def finish(job: Job) -> None:
    """The report page, and where everything is."""
    job.folder.record["status"] = "done"
    job.folder.save()
    page = report.write_report(job.folder.path, report.collect(job.folder.path))
    job.screen.say(f"Report: {telling.shown(page)}")
