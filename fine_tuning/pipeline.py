"""The whole job, top to bottom. Read `run` first.

    check -> model -> tokens -> split -> plan -> (encode) -> train, scored -> contract -> merge
    -> report

Each stage is a value of `stages/` that knows what it works on, and nothing of the run; `Run.once`
does it if an earlier command has not done it from the same inputs.
"""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fine_tuning import files, report
from fine_tuning.engine.process.launch import Worker, worker_for
from fine_tuning.errors import FineTuningError, Interrupted
from fine_tuning.paths import shown, slug
from fine_tuning.run import Run, begun_from, opened, recorded, require_finished, resolved
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.screen import Screen
from fine_tuning.ship.adapter import refuse_uncombinable
from fine_tuning.stages import (
    Check,
    Combine,
    Decide,
    Encode,
    Model,
    Split,
    Tokens,
    Train,
    chain,
    generated,
    refusing,
)
from fine_tuning.stages.asking import contract, judge, verify
from fine_tuning.stages.shipping import gguf, merge, ollama
from fine_tuning.stages.shipping import shippers as shipping
from fine_tuning.values.answers.contract import CONTRACT
from fine_tuning.values.record import RunRecord
from fine_tuning.values.results import BaseModel
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.combining import Combining
from fine_tuning.values.tables.rewards import read_reward


def run(spec: RunSpec, *, sources: Mapping[str, Source], screen: Screen, command: str) -> Path:
    """Do the whole job and give the run's folder.

    `sources` says who set each setting that was given; `command` reproduces the run. Raises a
    FineTuningError with the cause and the next step; what was done until then is kept.
    """
    spec, links = chain.started(spec, begun_from(spec), sources=sources, screen=screen)
    asked, spec = spec, resolved(spec, sources=sources, screen=screen)
    refusing.refuse_unstartable(spec)
    shipping.tell_places(asked, spec, screen)
    with (
        opened(spec, sources=sources, screen=screen, command=command, chain=links) as job,
        recorded(job, write_page),
    ):
        spec = job.spec
        shipping.refuse_unmakeable(spec, job.folder.path, job.record.stages)
        writes = job.on_first_node and not spec.dry_run
        with (
            files.reserved(spec.export_dir if writes else None),
            worker_for(spec, job.folder.log) as worker,
        ):
            if not job.record.is_trained or shipping.is_wanted(spec):
                worker.start()  # its imports overlap with reading the data
            if not job.record.is_trained:
                refusing.refuse_gpu(spec, worker, screen)
            training = prepare(job, worker)
            if spec.dry_run:
                job.end("dry_run")
                return job.folder.path
            if job.known(training) is None:
                job.begin_training(training.settings.of_training)
            job.once(training)
            if job.folder.stop_file.exists():
                raise Interrupted(
                    "Stopped after the training.", fix="the same command does the rest"
                )
            if job.on_first_node:
                write_down(job, worker)
                ship(job, worker)
        finish(job)
    return job.folder.path


def prepare(job: Run, worker: Worker) -> Train:
    """Everything before the training: checked rows, tokens, the two parts, the plan.

    A training that has begun is only continued with the rows and the plan that it began with.
    """
    spec, folder, known = job.spec, job.folder, job.record
    checked, trained = known.stages.check, known.stages.train
    data = job.once(
        Check(
            spec=spec,
            dataset=folder.dataset,
            trained_on=checked.result if known.begun and checked else None,
            is_finished=trained is not None and spec.epochs <= trained.result.epochs,
        )
    )
    refusing.refuse_unusable(data, spec.data)
    refusing.refuse_stage(spec, data)
    judges = judges_of(spec, job.screen)
    needed = not known.is_trained or shipping.is_wanted(spec)
    model = job.once(Model(spec=spec, weights=not spec.dry_run, is_needed=needed))
    merge.refuse_base(spec, model.location)
    look = job.once(Tokens(spec=spec, model=model, data=data, folder=folder.dataset, worker=worker))
    chain.require_same_template(look.template, known.chain)
    split = Split(spec=spec, data=data, look=look, dataset=folder.dataset)
    parts = job.once(split)
    places = generated.places_of(folder.path, folder.dataset, model.location)
    plan = job.once(
        Decide(
            spec=spec,
            sources=job.sources,
            data=data,
            parts=parts,
            look=look,
            places=places,
            worker=worker,
            begun=known.begun,
        )
    )
    training = Train(
        spec=spec,
        plan=plan,
        data=data,
        parts=parts,
        look=look,
        places=places,
        worker=worker,
        main=job.main_folder,
        has_begun=known.begun is not None,
        scores=folder.scores,
        log=folder.log,
        stop_file=folder.stop_file,
        saved=lambda: write_page_meanwhile(job),
        judges=judges,
    )
    written = generated.write_generated(plan, training.settings, data, parts, places)
    if not spec.dry_run:
        generated.register_rows(spec.dataset_dir, data, parts, places)
        job.accept()  # from here on nothing is refused
    if plan.rows.encoded_ahead:
        encoded = job.once(
            Encode(
                settings=training.settings,
                split=split,
                look=look,
                parts=parts,
                places=places,
                worker=worker,
            )
        )
        training = replace(training, encoded=encoded)
    if spec.dry_run:
        generated.show_generated(plan, training.settings, written, job.screen)
    return training


def judges_of(spec: RunSpec, screen: Screen) -> dict[str, judge.RewardModel]:
    """The reward models that --reward names, by their directories: runs of --stage rm, or what such
    a run has exported."""
    found = {}
    for reward in map(read_reward, spec.reward):
        if reward.kind != "model":
            continue
        folder = Path(reward.argument)
        record = read_record(RunFolder(folder))
        if record is None:
            named = RunSpec(model_name_or_path=reward.argument)
            found[reward.argument] = judge.of_named(named, screen)
        else:
            require_finished(record, folder)
            found[reward.argument] = judge.of_run(record, folder, screen)
    return found


def write_down(job: Run, worker: Worker) -> None:
    """Keep what the trained model answers, which `prove` then asks of whatever serves it."""
    stage = contract.of_run(job.spec, job.folder.path, job.record.stages, worker)
    if stage is not None:
        job.once(stage)


def ship(job: Run, worker: Worker) -> None:
    """Make what was asked for of what the record says was trained: merged into `--export_dir`."""
    if shipping.is_wanted(job.spec):
        merge.refuse_base(job.spec, job.once(Model(spec=job.spec)).location)
        for make in shipping.SHIPPERS.values():
            stage = make(job.spec, job.folder.path, job.record.stages, worker)
            if stage is not None:
                job.once(stage)


def export(spec: RunSpec, *, sources: Mapping[str, Source], screen: Screen, command: str) -> Path:
    """Merge a finished run, with the settings that it was trained with: nothing is checked, split
    or planned again. Raises UsageError for a run that has not finished."""
    asked, spec = spec, resolved(spec, sources=sources, screen=screen)
    shipping.tell_places(asked, spec, screen)
    with (
        opened(spec, sources=sources, screen=screen, command=command) as job,
        recorded(job, write_page),
    ):
        require_finished(job.record, job.folder.path)
        shipping.refuse_unmakeable(job.spec, job.folder.path, job.record.stages)
        job.accept()
        with (
            files.reserved(job.spec.export_dir),
            worker_for(job.spec, job.folder.log) as worker,
        ):
            worker.start()
            ship(job, worker)
        finish(job)
    return job.folder.path


def export_adapters(
    spec: RunSpec,
    adapters: Sequence[Path],
    combining: Combining | None,
    combined_dir: Path | None,
    *,
    log: Path,
    screen: Screen,
) -> Path:
    """Make one adapter (`combined_dir`) or a merged model (`--export_dir`) of adapters that
    somebody else trained: combined, or one upon the other. What cannot be is refused first."""
    title = slug(adapters[-1].name)
    asked, spec = spec, spec.with_places(adapters[-1])
    shipping.tell_places(asked, spec, screen)
    shipping.refuse_unmakeable_of_model(spec, title)
    if combining is not None:
        refuse_uncombinable(adapters, combining.how)
    base = merge.base_of_adapters(spec, adapters, screen)
    with worker_for(spec, log) as worker, tempfile.TemporaryDirectory() as between:
        if combining is not None:
            target = combined_dir or Path(between, "combined")
            combine = Combine(
                spec=spec, combining=combining, base=base.location, target=target, worker=worker
            )
            combine.tell(combine.do(screen), screen, known=False)
            adapters = [target]
        if spec.export_dir is not None:
            stage = merge.of_adapters(spec, base, adapters, worker)
            stage.tell(stage.do(screen), screen, known=False)
            ship_model(spec, spec.export_dir, base, title, worker, log=log, screen=screen)
    return spec.export_dir or adapters[-1]


def export_model(spec: RunSpec, *, log: Path, screen: Screen) -> Path:
    """Make GGUF files, and a model in Ollama, of a whole model that somebody else trained."""
    title = slug(Path(str(spec.model_name_or_path)).name)
    asked, spec = spec, spec.with_places(Path.cwd() / title).replace(export_dir=None)
    shipping.tell_places(asked, spec, screen)
    shipping.refuse_unmakeable_of_model(spec, title)
    base = Model(spec=spec).do(screen)
    with worker_for(spec, log) as worker:
        ship_model(spec, Path(base.location), base, title, worker, log=log, screen=screen)
    return Path(base.location)


def ship_model(
    spec: RunSpec,
    model: Path,
    base: BaseModel,
    title: str,
    worker: Worker,
    *,
    log: Path,
    screen: Screen,
) -> None:
    """GGUF files of a model's directory, and Ollama's model of the first."""
    if not spec.gguf:
        return
    named = spec.replace(model_name_or_path=str(model), engine_args={})
    with tempfile.TemporaryDirectory() as between:
        asked = contract.of_named(named, Path(between, CONTRACT), screen, worker)
        written = asked.do(screen)
        asked.tell(written, screen, known=False)
        path = written.path if written.path.is_file() else None
        stage = gguf.of_model(spec, model, title, path, worker, log)
        made = stage.do(screen)
    stage.tell(made, screen, known=False)
    served = ollama.of_model(spec, model, base, made, worker, log)
    if served is not None:
        served.tell(served.do(screen), screen, known=False)


def verify_run(
    run_dir: Path, record: RunRecord, *, folder: Path, steps: int | None, screen: Screen
) -> verify.Verified:
    """Train the first steps of a run again in another folder; the run is only read."""
    with worker_for(record.settings, folder / "logs" / "engine.log") as worker:
        again = verify.Verify(
            run_dir=run_dir, record=record, folder=folder, worker=worker, steps=steps
        )
        return again.do(screen)


def finish(job: Run) -> None:
    """The report page, and where everything is."""
    job.end("done")
    job.screen.say(f"Report: {shown(write_page(job))}")


def write_page(job: Run) -> Path:
    """The page of the run, as far as it has come."""
    return report.write_report(job.folder.path, report.collect(job.folder.path, job.record))


def write_page_meanwhile(job: Run) -> None:
    """The same during the training, so that it can be watched; a full disk must not end it."""
    if job.on_first_node:
        with suppress(OSError, FineTuningError):
            write_page(job)
