"""quantize: the merged model in a format for GPU servers, by llm-compressor; and what it costs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from fine_tuning.disk import files, hashes
from fine_tuning.disk.paths import shown
from fine_tuning.engine.gpus import driver_gpus, gpus_are_hidden
from fine_tuning.engine.process.chatting import BASE, TUNED, SpokenModel, Voices
from fine_tuning.engine.process.environment import environment
from fine_tuning.engine.process.launch import Worker
from fine_tuning.errors import EngineError, UsageError
from fine_tuning.measures.compare import compared
from fine_tuning.report.told.quantized import table_lines
from fine_tuning.screen import Screen, worker_events
from fine_tuning.ship.llm_compressor import compress, plan
from fine_tuning.ship.llm_compressor.place import find
from fine_tuning.ship.proving.causes import judge
from fine_tuning.ship.proving.contract_file import read_contract
from fine_tuning.stages.asking import chat
from fine_tuning.stages.asking.evaluate import Evaluate, RowSet
from fine_tuning.stages.asking.prove import Asking
from fine_tuning.stages.planned import planned_in
from fine_tuning.stages.shipping.llama_cpp.gguf import told
from fine_tuning.stages.shipping.llama_cpp.ladder import USUAL_ROWS
from fine_tuning.units import bytes_text, counted, duration_text
from fine_tuning.values.answers.scores import Score
from fine_tuning.values.answers.verdict import Verdict
from fine_tuning.values.record import Stages, result_of
from fine_tuning.values.results import Calibration, Quantized
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.compressed import (
    CALIBRATION_ROWS,
    CALIBRATION_TOKENS,
    COMPRESSED,
    Compressed,
)
from fine_tuning.values.tables.objectives import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class Quantize:
    """Write `model` as `format` into the directory `target`, which appears only when it is whole
    and answers the contract.

    `rows` are those that it was trained on, put to it as `asked`; without them nothing is fitted.
    """

    name: ClassVar[str] = "quantize"
    spec: RunSpec
    format: str
    model: Path
    trained: str = ""
    target: Path
    rows: Path | None = None
    asked: SpokenModel | None = None
    contract: Path | None = None
    worker: Worker
    log: Path

    @property
    def kind(self) -> Compressed:
        """The format's row of the table."""
        return COMPRESSED[self.format]

    def inputs(self) -> tuple[Any, ...]:
        return (str(self.target), self.trained, self.format)

    def holds(self, known: Quantized) -> bool:
        """The directory is there. Raises DataError if it is not what was written."""
        if not (self.target / "config.json").is_file():
            return False
        again = f"move {self.target} away and repeat the command: it is written again"
        hashes.require_unchanged(self.target, again, hashes=known.hashes)
        return True

    def do(self, screen: Screen) -> Quantized:
        plan.refuse_unknown(self.model, self.format)
        group = plan.group_for(self.model, self.format, self.kind)
        rows, calibration = self._calibration(screen)
        tool = find(self.spec.llm_compressor)
        tokens = calibration.tokens if calibration else 0
        for line in needs(self.spec, self.model, self.kind, tokens):
            screen.say(line)
        self.worker.restart()  # what it has loaded is not needed, and its memory is
        screen.begin("quantize")
        with files.written_whole(self.target) as partial:
            layers = compress.compress(
                tool,
                self.model,
                partial,
                method=self.kind.method,
                group=group,
                rows=rows,
                environment=environment(self.spec),
                log=self.log,
                told=screen.advance,
            )
            screen.end(counted(len(layers), "layer"))
            verdict = self._proved(partial, screen)
            written = hashes.of_files(partial)
        size = sum(path.stat().st_size for path in self.target.glob("*.safetensors"))
        was = sum(path.stat().st_size for path in self.model.glob("*.safetensors"))
        screen.say(
            f"{shown(self.target)}, {bytes_text(size)} of weights instead of {bytes_text(was)}"
            f"{told(verdict)}"
        )
        return Quantized(
            path=self.target,
            format=self.format,
            method=self.kind.method,
            group=group,
            calibration=calibration,
            layers=len(layers),
            bytes=size,
            hashes=written,
            verdict=verdict,
        )

    def _calibration(self, screen: Screen) -> tuple[list[list[int]], Calibration | None]:
        """Rows of the training as ids, chosen by the seed of the run."""
        if not self.kind.calibrated:
            return [], None
        assert self.rows is not None and self.asked is not None
        request = {
            "model": asdict(self.asked),
            "rows_path": str(self.rows),
            "samples": CALIBRATION_ROWS,
            "seed": self.spec.seed,
        }
        found = self.worker.request("held_out_pairs", request, worker_events(screen))
        rows = [[*prompt, *answer][:CALIBRATION_TOKENS] for prompt, answer in found["pairs"]]
        made = Calibration(rows=len(rows), tokens=sum(map(len, rows)), seed=self.spec.seed)
        screen.say(
            f"Calibrated on {counted(made.rows, 'training row')} ({counted(made.tokens, 'token')}),"
            f" drawn with seed {made.seed} and rendered as they were trained."
        )
        return rows, made

    def _proved(self, folder: Path, screen: Screen) -> Verdict | None:
        """How Transformers answers the contract with it. Raises EngineError if otherwise than its
        format explains."""
        if self.contract is None:
            return None
        wanted = read_contract(self.contract)
        asking = Asking(contract=wanted, screen=screen, log=self.log)
        named = self.spec.replace(model_name_or_path=str(folder), engine_args={})
        verdict = judge(wanted, asking.of_folder(named, self.worker))
        if not verdict.holds:
            found = verdict.findings[0]
            raise EngineError(
                f"The model in {self.format} does not answer as was trained ({found.cause}), and "
                "was not kept.",
                why=found.text,
                fix=found.fix,
            )
        return replace(verdict, target=str(self.target))

    def tell(self, result: Quantized, screen: Screen, *, known: bool) -> None:
        if known:
            screen.say(f"Already there: {shown(result.path)}.")
        else:
            screen.say(f"{self.kind.served}: vllm serve {shown(result.path)}")


@dataclass(frozen=True, kw_only=True)
class Weigh:
    """Score the merged model and the quantised one on the same held-out rows."""

    name: ClassVar[str] = "weigh"
    made: Quantized
    model: Path
    rows: RowSet
    asked: SpokenModel
    worker: Worker
    folder: Path

    def inputs(self) -> tuple[Any, ...]:
        return (self.made.hashes, hashes.of(self.rows.path), self.rows.samples)

    def holds(self, known: Sequence[Score]) -> bool:
        """Numbers need no files."""
        return True

    def do(self, screen: Screen) -> tuple[Score, ...]:
        evaluating = Evaluate(
            voices=Voices(
                by_name={
                    TUNED: self.asked.of_whole(self.made.path),
                    BASE: self.asked.of_whole(self.model),
                }
            ),
            sets=(self.rows,),
            most_new=None,
            folder=self.folder,
            worker=self.worker,
            said=("merged", "quantized"),
        )
        found = evaluating.do(screen)[self.rows.name]
        (self.folder / "evaluated.json").unlink()
        return compared(found.before, found.after)

    def tell(self, result: Sequence[Score], screen: Screen, *, known: bool) -> None:
        screen.say("On the same held-out rows, with the 95% interval of each change:")
        for line in table_lines(result, self.made.format):
            screen.say(line)


def needs(spec: RunSpec, model: Path, kind: Compressed, tokens: int) -> list[str]:
    """Whether a GPU is needed to write the format, and how long it takes without one."""
    has_gpu = bool(driver_gpus()) and not (spec.use_cpu or gpus_are_hidden())
    if not kind.calibrated:
        return ["Writing it needs no GPU and no rows: every layer is rounded by itself."]
    if has_gpu:
        return ["It is written on the GPU, a layer at a time."]
    work = plan.operations([*plan.matrices(model).values()], tokens, kind)
    seconds = 20 + work / plan.operations_a_second()
    return [
        "It is written without a GPU, which works and is slow: about "
        f"{duration_text(seconds)} by the speed of this processor now (a GPU takes minutes)."
    ]


def of_run(spec: RunSpec, run_dir: Path, stages: Stages, worker: Worker) -> Quantize | None:
    """The quantised model of a run's merged one; None without --export_quantization."""
    merged, asked = result_of(stages.merge), result_of(stages.contract)
    if spec.export_quantization is None or merged is None:
        return None
    assert spec.quantized_dir is not None and stages.merge is not None
    planned = planned_in(run_dir, stages, spec)
    return Quantize(
        spec=spec,
        format=spec.export_quantization,
        model=merged.path,
        trained=f"{stages.merge.inputs} {stages.merge.began}",
        target=spec.quantized_dir,
        rows=planned.parts.train_path,
        asked=chat.voices_of_training(planned).tuned,
        contract=asked.path if asked and asked.path.is_file() else None,
        worker=worker,
        log=run_dir / "logs" / "engine.log",
    )


def weighed(spec: RunSpec, run_dir: Path, stages: Stages, worker: Worker) -> Weigh | None:
    """The scores of both on a run's held-out rows; None where there are none."""
    made, merged = result_of(stages.quantize), result_of(stages.merge)
    planned = planned_in(run_dir, stages, spec)
    rows = planned.parts.val_path
    if spec.export_quantization is None or made is None or merged is None:
        return None
    if rows is None or not rows.exists():
        return None
    samples = spec.score_samples or USUAL_ROWS
    return Weigh(
        made=made,
        model=merged.path,
        rows=RowSet(name="rows", path=rows, kind=planned.data.kind, samples=samples),
        asked=chat.voices_of_training(planned).tuned,
        worker=worker,
        folder=run_dir,
    )


def of_model(
    spec: RunSpec, model: Path, contract: Path | None, worker: Worker, log: Path
) -> Quantize | None:
    """The same of a model that no run has made; None without --export_quantization."""
    if spec.export_quantization is None:
        return None
    assert spec.quantized_dir is not None
    return Quantize(
        spec=spec,
        format=spec.export_quantization,
        model=model,
        target=spec.quantized_dir,
        contract=contract,
        worker=worker,
        log=log,
    )


def refuse_without_run(spec: RunSpec) -> None:
    """Raise UsageError for a format that is fitted to rows of a training nobody knows."""
    name = spec.export_quantization
    if name is not None and COMPRESSED[name].calibrated:
        raise UsageError(
            f"--export_quantization {name} is fitted to the rows of the training, and no run made "
            "this model.",
            fix="name the run with --output_dir, or take fp8, which needs no rows",
        )


def refuse_unmakeable(spec: RunSpec, stages: Stages) -> None:
    """Raise before the training where llm-compressor is missing, the place is in use, or the model
    gives no answers."""
    name = spec.export_quantization
    if name is None:
        return
    split = result_of(stages.plan)
    stage = split.rows.stage if split else spec.stage
    if stage is not None and not OBJECTIVES[stage].answers:
        raise UsageError(
            "--export_quantization writes models that answer, and a reward model gives scores.",
            fix="leave it out; --export_dir writes what Transformers, TRL and vLLM load",
        )
    find(spec.llm_compressor)
    known, target = result_of(stages.quantize), spec.quantized_dir
    assert target is not None
    if known is None or known.path != target or known.format != name:
        files.require_empty(target, "--quantized_dir ")
        files.require_writable(target.parent, "--quantized_dir ")


def refuse_base(spec: RunSpec, location: str) -> None:
    """Raise ModelError once the base model is there, for what cannot be made of it."""
    name, folder = spec.export_quantization, Path(location)
    if name is None or not (folder / "config.json").is_file():
        return
    plan.refuse_unknown(folder, name)
    if plan.matrices(folder):  # a base that is not in safetensors is known once it is merged
        plan.group_for(folder, name, COMPRESSED[name])
