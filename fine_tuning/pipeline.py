"""The whole job, top to bottom. Read `run` first.

    check -> model -> tokens -> split -> plan -> (encode) -> train, scored -> contract -> merge
    -> report

Each stage is a value of `stages/` that knows what it works on, and nothing of the run; `Run.once`
does it if an earlier command has not done it from the same inputs.
"""

from collections.abc import Mapping
from pathlib import Path

from fine_tuning import report
from fine_tuning.disk import files
from fine_tuning.engine.process.launch import Worker, worker_for
from fine_tuning.run import (
    Run,
    begun_from,
    done,
    finished,
    opened,
    page_meanwhile,
    recorded,
    require_finished,
    resolved,
)
from fine_tuning.screen import Screen
from fine_tuning.stages import (
    Check,
    Decide,
    Encode,
    Model,
    Planned,
    Split,
    Tokens,
    Train,
    chain,
    places_of,
)
from fine_tuning.stages.asking import contract, judge
from fine_tuning.stages.preparing import refusing
from fine_tuning.stages.shipping import card
from fine_tuning.stages.shipping import shippers as shipping
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import RunSpec


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
        recorded(job, report.write_run_page),
    ):
        spec = job.spec
        shipping.refuse_unmakeable(spec, job.folder.path, job.record.stages)
        writes = job.spec.on_first_node and not spec.dry_run
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
                job.begin_training(training.planned.settings.of_training)
            job.once(training)
            job.require_not_stopped("the training")
            if job.spec.on_first_node:
                write_down(job, worker)
                ship(job, worker)
        done(job, report.write_run_page)
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
    judges = judge.of_rewards(spec.reward, finished, job.screen)
    needed = not known.is_trained or shipping.is_wanted(spec)
    model = job.once(Model(spec=spec, weights=not spec.dry_run, is_needed=needed))
    shipping.refuse_base(spec, model.location)
    tokens = Tokens(
        spec=spec, model=model, data=data, folder=folder.dataset, worker=worker, keeps=True
    )
    look = job.once(tokens)
    chain.require_same_template(look.template, known.chain)
    split = Split(spec=spec, data=data, look=look, dataset=folder.dataset)
    parts = job.once(split)
    places = places_of(folder.path, model.location)
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
    planned = Planned(
        spec=spec, data=data, look=look, parts=parts, plan=plan, places=places, judges=judges
    )
    written = planned.write()
    if not spec.dry_run:
        planned.register()
        job.accept()  # from here on nothing is refused
    ahead = plan.rows.encoded_ahead
    encoded = job.once(Encode(planned=planned, split=split, worker=worker)) if ahead else None
    if spec.dry_run:
        planned.show(written, job.screen)
    return Train(
        planned=planned,
        encoded=encoded,
        worker=worker,
        main=job.main_folder,
        has_begun=known.begun is not None,
        scores=folder.scores,
        log=folder.log,
        stop_file=folder.stop_file,
        saved=lambda: page_meanwhile(job, report.write_run_page),
    )


def write_down(job: Run, worker: Worker) -> None:
    """Keep what the trained model answers, which `prove` then asks of whatever serves it."""
    stage = contract.of_run(job.spec, job.folder.path, job.record.stages, worker)
    if stage is not None:
        job.once(stage)


def ship(job: Run, worker: Worker) -> None:
    """Make what was asked for of what the record says was trained: merged into `--export_dir`."""
    if shipping.is_wanted(job.spec):
        shipping.refuse_base(job.spec, job.once(Model(spec=job.spec)).location)
        for make in shipping.SHIPPERS.values():
            stage = make(job.spec, job.folder.path, job.record.stages, worker)
            if stage is not None:
                job.once(stage)
        card.write_cards(job.folder.path, job.record)


def export(spec: RunSpec, *, sources: Mapping[str, Source], screen: Screen, command: str) -> Path:
    """Merge a finished run, with the settings that it was trained with: nothing is checked, split
    or planned again. Raises UsageError for a run that has not finished."""
    asked, spec = spec, resolved(spec, sources=sources, screen=screen)
    shipping.tell_places(asked, spec, screen)
    with (
        opened(spec, sources=sources, screen=screen, command=command) as job,
        recorded(job, report.write_run_page),
    ):
        require_finished(job.record, job.folder.path)
        shipping.refuse_unmakeable(job.spec, job.folder.path, job.record.stages)
        job.accept()
        with (
            files.reserved(job.spec.export_dir),
            worker_for(job.spec, job.folder.log) as worker,
        ):
            worker.start()
            report.load_meanwhile(job.record)
            ship(job, worker)
        done(job, report.write_run_page)
    return job.folder.path
