"""The whole job, top to bottom. Read `run` first.

    check -> model -> tokens -> split -> plan -> (encode) -> train, scored -> merge -> report

Each stage is a value of `stages/` that knows what it works on, and nothing of the run; `Run.once`
does it if an earlier command has not done it from the same inputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fine_tuning import files, report
from fine_tuning.dataset.check import refuse_unusable
from fine_tuning.dataset.prepare import register
from fine_tuning.dataset.read.find import refuse_missing
from fine_tuning.engine.environment import environment
from fine_tuning.engine.launch import Worker
from fine_tuning.engine.loading import after_training, given_adapter
from fine_tuning.engine.model_hub import require_model
from fine_tuning.engine.model_source import is_local, model_location
from fine_tuning.engine.requests import patches_the_process, served_request, shipped_template
from fine_tuning.engine.trainers.trainer import TrainSettings
from fine_tuning.errors import Interrupted, UsageError
from fine_tuning.paths import shown
from fine_tuning.report.scores import score_row
from fine_tuning.run import checkpoints
from fine_tuning.run.ending import recorded
from fine_tuning.run.folder import has_weights
from fine_tuning.run.opening import anchored, opened, require_finished, resolved
from fine_tuning.run.run import Run
from fine_tuning.screen import Screen
from fine_tuning.ship.adapter import base_of, chat_template_of, require_adapter
from fine_tuning.ship.merged import require_usable
from fine_tuning.stages import generated
from fine_tuning.stages.check import Check
from fine_tuning.stages.encode import Encode
from fine_tuning.stages.merge import Merge, refuse_used
from fine_tuning.stages.model import Model, wanted_model
from fine_tuning.stages.plan import Decide, settings_of
from fine_tuning.stages.split import Split
from fine_tuning.stages.tokens import Tokens
from fine_tuning.stages.train import Train
from fine_tuning.units import counted
from fine_tuning.values.data import CheckedData, SplitData
from fine_tuning.values.objectives import OBJECTIVES
from fine_tuning.values.plan import Places, Plan
from fine_tuning.values.record import result_of
from fine_tuning.values.shown import Source
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import TokenLook


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A training that can begin: its rows, its model, and every choice."""

    data: CheckedData
    look: TokenLook
    parts: SplitData
    plan: Plan
    settings: TrainSettings
    places: Places


def run(spec: RunSpec, *, sources: Mapping[str, Source], screen: Screen, command: str) -> Path:
    """Do the whole job and give the run's folder.

    `sources` says who set each setting that was given; `command` reproduces the run. Raises a
    FineTuningError with the cause and the next step; what was done until then is kept.
    """
    spec = resolved(spec, sources=sources, screen=screen)
    refuse_unstartable(spec)
    with (
        opened(spec, sources=sources, screen=screen, command=command) as job,
        recorded(job, write_page),
    ):
        refuse_used(job.spec, job.folder.path, job.record.stages)
        writes = job.on_first_node and not job.spec.dry_run
        with (
            files.reserved(job.spec.export_dir if writes else None),
            Worker(job.folder.log, environment=environment(job.spec)) as worker,
        ):
            if not job.record.is_trained or job.spec.export_dir:
                worker.start()  # its imports overlap with reading the data
            prepared = prepare(job, worker)
            if job.spec.dry_run:
                return job.folder.path
            train(job, prepared, worker)
            if job.on_first_node:
                merge(job, worker)
        finish(job)
    return job.folder.path


def refuse_unstartable(spec: RunSpec) -> None:
    """Raise for a place or a model that cannot be used, before anything is made."""
    assert spec.output_dir is not None
    register.refuse_patterns(str(spec.output_dir))
    if not spec.output_dir.exists():  # later, prepared rows may be enough
        refuse_missing([*spec.data.dataset_path, *spec.data.mix])
        refuse_missing(spec.val_dataset_path, "val_dataset_path")
    if not is_local(model_location(str(spec.model_name_or_path))):
        require_model(wanted_model(spec))


def prepare(job: Run, worker: Worker) -> Prepared:
    """Everything before the training: checked rows, tokens, the two parts, the plan."""
    spec, dataset, known = job.spec, job.folder.dataset, job.record
    began_with = known.stages.check.result if known.begun and known.stages.check else None
    data = job.once(
        Check(spec=spec, dataset=dataset, trained_on=began_with, is_finished=_is_finished(job))
    )
    refuse_unusable(data, spec.data)
    needed = not known.is_trained or spec.export_dir is not None
    model = job.once(Model(spec=spec, weights=not spec.dry_run, is_needed=needed))
    look = job.once(Tokens(spec=spec, model=model, data=data, folder=dataset, worker=worker))
    parts = job.once(Split(spec=spec, data=data, look=look, dataset=dataset))
    places = generated.places_of(job.folder.path, dataset, model.location)
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
    made = settings_of(plan, spec, look, places)
    prepared = Prepared(data=data, look=look, parts=parts, plan=plan, settings=made, places=places)
    entries = generated.dataset_entries(data, parts, places)
    written = generated.write_generated(plan, made, entries, places)
    if not spec.dry_run:
        register.register(spec.dataset_dir, entries)
        job.accept()  # from here on nothing is refused
    encode(job, prepared, worker)
    if spec.dry_run:
        generated.show_generated(plan, made, written, job.screen)
        job.end("dry_run")
    return prepared


def _is_finished(job: Run) -> bool:
    """Whether nothing is left to train, also of the passes that are asked for now."""
    trained = job.record.stages.train
    return trained is not None and job.spec.epochs <= trained.result.epochs


def encode(job: Run, prepared: Prepared, worker: Worker) -> None:
    """Rows that the engine alone would encode otherwise are encoded ahead of the training."""
    split = job.record.stages.split
    if prepared.plan.rows.encoded_ahead and split is not None:
        job.once(
            Encode(
                settings=prepared.settings,
                split=split.inputs,
                look=prepared.look,
                parts=prepared.parts,
                places=prepared.places,
                worker=worker,
            )
        )


def train(job: Run, prepared: Prepared, worker: Worker) -> None:
    """Train, or go on from the last complete checkpoint; nothing if it is done."""
    folder, main = job.folder, job.main_folder
    without_optimizer = bool(prepared.settings.by_hand.get("save_only_model"))
    stage = Train(
        spec=job.spec,
        plan=prepared.plan,
        settings=prepared.settings,
        data=prepared.data,
        parts=prepared.parts,
        look=prepared.look,
        places=prepared.places,
        worker=worker,
        encoded=result_of(job.record.stages.encode) if prepared.plan.rows.encoded_ahead else None,
        checkpoints=checkpoints.checkpoints(main, without_optimizer=without_optimizer),
        weights_are_there=has_weights(folder.path) or not job.on_first_node,
        scores=folder.scores,
        log=folder.log,
        stop_file=folder.stop_file,
    )
    if job.known(stage) is None:
        if job.on_first_node:
            checkpoints.set_aside_incomplete(main, without_optimizer=without_optimizer)
            checkpoints.set_aside_damaged(stage.checkpoints, job.screen.warn)
        whole = [path for path in stage.checkpoints if path.exists()]
        stage = replace(stage, checkpoints=continued_from(job, prepared, whole))
        job.begin_training(prepared.settings.of_training)
        job.once(stage)
        show_scores(job)
    else:
        job.once(stage)
    if folder.stop_file.exists():
        raise Interrupted("Stopped after the training.", fix="the same command does the rest")


def continued_from(job: Run, prepared: Prepared, found: Sequence[Path]) -> Sequence[Path]:
    """The checkpoints to continue from, oldest first; what that means is said.

    The engine cannot resume some objectives: their checkpoints are put aside.
    """
    if not found:
        if job.record.begun is not None:
            job.screen.warn("there is no checkpoint to continue: this training starts anew")
        return found
    if not checkpoints.has_optimizer(found[-1]):
        job.screen.warn(
            f"{found[-1].name} holds no optimizer state (--save_only_model): the continued "
            "training is not the one that would have gone on"
        )
    if OBJECTIVES[prepared.plan.rows.stage].resumable:
        return found
    if job.on_first_node:
        checkpoints.put_aside(found, "unused")
    job.screen.warn("a reward model cannot be continued: this training starts from the beginning")
    return ()


def show_scores(job: Run) -> None:
    """The scores before and after, in one line each."""
    for score in report.collect(job.folder.path, job.record).scores:
        row = score_row(score)
        job.screen.say(f"{row.name}: {row.before} -> {row.after} on {row.n} held-out rows")


def merge(job: Run, worker: Worker) -> None:
    """Merge into `--export_dir`, if it was given, what the record says was trained."""
    target, stages = job.spec.export_dir, job.record.stages
    if target is None:
        return
    assert stages.train and stages.plan and stages.tokens and stages.split  # it is trained
    look, parts = stages.tokens.result, stages.split.result
    model = job.once(Model(spec=job.spec))
    places = generated.places_of(job.folder.path, job.folder.dataset, model.location)
    made = settings_of(stages.plan.result, job.spec, look, places).by_hand
    job.once(
        Merge(
            spec=job.spec,
            target=target,
            trained=f"{stages.train.inputs} {stages.train.began}",
            model=after_training(made, job.folder.path),
            trained_in=job.folder.path,
            base=model.location,
            probe_rows=parts.val_path or parts.train_path,
            chat_template=shipped_template(look.template),
            served=served_request(look.template),
            worker=worker,
            fresh_worker=patches_the_process(made),
        )
    )


def export(spec: RunSpec, *, sources: Mapping[str, Source], screen: Screen, command: str) -> Path:
    """Merge a finished run, with the settings that it was trained with: nothing is checked, split
    or planned again. Raises UsageError for a run that has not finished."""
    spec = resolved(spec, sources=sources, screen=screen)
    with (
        opened(spec, sources=sources, screen=screen, command=command) as job,
        recorded(job, write_page),
    ):
        require_finished(job)
        refuse_used(job.spec, job.folder.path, job.record.stages)
        job.accept()
        with Worker(job.folder.log, environment=environment(job.spec)) as worker:
            worker.start()
            merge(job, worker)
        finish(job)
    return job.folder.path


def merge_adapter(spec: RunSpec, *, log: Path, screen: Screen) -> Path:
    """Merge an adapter that somebody else trained into its base model; gives the merged model.

    The chat template is that of the adapter's folder, if it brings one, else the base model's.
    """
    spec = anchored(spec)
    adapter, target = Path(spec.engine_args["adapter_name_or_path"]), spec.export_dir
    assert target is not None
    require_adapter(adapter)
    require_usable(target, adapter)
    base = spec.model_name_or_path or base_of(adapter)
    if base is None:
        raise UsageError(
            f"{adapter} does not say of which model it is.", fix="add --model_name_or_path"
        )
    screen.say(f"Base model: {base}.")
    spec = spec.replace(model_name_or_path=base)
    model = Model(spec=spec).do(screen)
    with Worker(log, environment=environment(spec)) as worker:
        worker.start()
        stage = Merge(
            spec=spec,
            target=target,
            model=given_adapter(spec, model.location, adapter),
            base=model.location,
            chat_template=chat_template_of(adapter),
            worker=worker,
        )
        stage.tell(stage.do(screen), screen, known=False)
    return target


def finish(job: Run) -> None:
    """The scores, the report page, and where everything is."""
    job.end("done")
    page = write_page(job)
    job.screen.say(f"Report: {shown(page)}")


def write_page(job: Run) -> Path:
    """The page of the run, as far as it has come."""
    return report.write_report(job.folder.path, report.collect(job.folder.path, job.record))


def tokens_of(
    spec: RunSpec, data: CheckedData, folder: Path, *, show: Sequence[str], screen: Screen
) -> TokenLook:
    """The look at the tokens for `validate`, outside of any run."""
    spec = anchored(spec)
    model = Model(spec=spec, weights=False).do(screen)
    log = folder / "logs" / "engine.log"
    with Worker(log, environment=environment(spec)) as worker:
        stage = Tokens(spec=spec, model=model, data=data, folder=folder, worker=worker, show=show)
        look = stage.do(screen)
    screen.end(counted(look.tokens, "token"))
    return look
