"""The record of a run, and what its folder holds -> the facts of its page."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from fine_tuning import ledger
from fine_tuning.disk import files
from fine_tuning.disk.paths import shown
from fine_tuning.measures import texts
from fine_tuning.measures.compare import compared
from fine_tuning.measures.metrics import JUDGED
from fine_tuning.measures.rewards import REWARDS, WINS
from fine_tuning.report.facts.account import data_account, masked_of, parity_of
from fine_tuning.report.facts.chain import link_of, shown_link
from fine_tuning.report.facts.moved import moved
from fine_tuning.report.facts.page import Artefact, CurvePoint, RunFacts, Sample
from fine_tuning.report.told.scores import interval_text, score_row
from fine_tuning.values.answers.scores import Score, Scores
from fine_tuning.values.codec import fingerprint, from_json
from fine_tuning.values.plan import Plan
from fine_tuning.values.record import RunRecord, result_of
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.kinds import KINDS
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES

T = TypeVar("T")
TOLD = (
    JUDGED,
    WINS,
    *REWARDS,
    "exact_match",
    "loss",
    "perplexity",
    "stops",
)  # at the end of a training
# What a trainer logs at a step, and what one logs that samples answers.
ALWAYS = ("loss", "learning_rate", "grad_norm", "eval_loss")
OF_ONLINE = ("reward", "kl", "answer_tokens")
OF_DEVICE = ("tokens_per_second", "gpu_memory", "process_memory")


def collect(run_dir: Path, record: RunRecord) -> RunFacts:
    """Everything known of a run; a stage that has not happened is left out of the page."""
    stages, spec = record.stages, record.settings
    data, look = result_of(stages.check), result_of(stages.tokens)
    parts, plan = result_of(stages.split), result_of(stages.plan)
    trained, merged = result_of(stages.train), result_of(stages.merge)
    gguf, ollama = result_of(stages.gguf), result_of(stages.ollama)
    choices = plan.choices if plan else ()
    scores, rows = read_scores(run_dir), ledger.read(run_dir)
    return RunFacts(
        title=run_dir.name,
        subject=_subject(spec),
        status=record.status,
        # somebody who pressed Ctrl-C need not be told that something went wrong
        failure=None if record.status == "interrupted" else record.failure,
        log=shown(run_dir / "logs" / "engine.log"),
        command=record.command,
        created=datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        durations={
            **stages.seconds,
            **{f"{name}, stopped": spent for name, spent in record.unfinished.items()},
            **({"at work": files.age(run_dir / "run.json")} if record.status == "running" else {}),
        },
        step=max(map(_step, run_dir.glob("checkpoint-*/trainer_state.json")), default=0),
        steps=plan.chosen.steps if plan else 0,
        settings=choices,
        versions=record.versions,
        device=next((choice.value for choice in choices if choice.name == "device"), ""),
        warnings=(*(plan.warnings if plan else ()), *(trained.alarms if trained else ())),
        base_model=spec.model_name_or_path or "",
        method=spec.method,
        template=(look.template.name or "") if look else "",
        chat=KINDS[data.kind].is_chat if data else True,
        encoded_ahead=look is not None and look.template.ahead is not None,
        switched_off=look.template.switched_off if look else (),
        parity=parity_of(look) if look else None,
        data=None
        if data is None
        else data_account(
            data,
            look,
            parts,
            trained,
            rejected=shown(run_dir / "dataset" / "rejected.jsonl"),
            report=shown(run_dir / "dataset" / "report.json"),
        ),
        curves=curves_of(run_dir),
        scores=compared_scores(run_dir),
        samples=_samples(scores),
        moved=moved(scores, rows),
        row_losses=ledger.findings(rows) if rows else None,
        masked=masked_of(look) if look else (),
        **loading_facts(run_dir, spec, plan),
        merged_path=merged.path if merged else None,
        ollama_model=ollama.name if ollama and ollama.created else "",
        quantized=result_of(stages.quantize),
        quantized_scores=result_of(stages.weigh) or (),
        gguf_paths=tuple(file.path for file in gguf.files) if gguf else (),
        ladder=result_of(stages.ladder),
        proof=merged.proof if merged else None,
        rewards=merged.rewards if merged else None,
        chain=tuple(
            map(shown_link, (*record.chain, link_of(run_dir, record, score_lines(run_dir))))
        )
        if record.chain and trained
        else (),
        artefacts=_artefacts(run_dir, record),
        hashes=hashes_of(record),
    )


def loading_facts(run_dir: Path, spec: RunSpec, plan: Plan | None) -> dict[str, Any]:
    """What decides how the trained model is loaded: the facts of that name."""
    whole = plan is not None and not METHODS[plan.chosen.method].makes_adapter
    return {
        "adapter_path": run_dir if (run_dir / "adapter_config.json").exists() else None,
        "adapters_before": spec.adapters_before,
        "model_path": run_dir if whole and (run_dir / "config.json").exists() else None,
        "reward_model": plan is not None and plan.rows.stage == "rm",
        "virtual_tokens": plan is not None and METHODS[plan.chosen.method].soft_prompt,
        "train_yaml": run_dir / "train.yaml" if plan and by_hand(run_dir, spec, plan) else None,
    }


def by_hand(run_dir: Path, spec: RunSpec, plan: Plan) -> bool:
    """Whether LLaMA-Factory alone can train by the `train.yaml` that lies in the run."""
    return (
        (run_dir / "train.yaml").exists()
        and METHODS[plan.chosen.method].trainer == "llamafactory"
        and OBJECTIVES[plan.rows.stage].online is None
        and not spec.target_parameters
    )


def _subject(spec: RunSpec) -> tuple[str, str] | None:
    """The model and the data by their names."""
    model = Path(spec.model_name_or_path or "").name
    paths = spec.data.dataset_path or tuple(spec.data.mix)
    data = ", ".join(Path(path).name for path in paths[:2]) + (" ..." if len(paths) > 2 else "")
    return (model, data) if model and data else None


def _read(path: Path, kind: type[T]) -> T:
    """A file beside the record, without which a page can be made; DataError if it is damaged."""
    fix = "delete it, and the page is made without it, or put a copy back"
    return from_json(files.read_json(path, fix), kind, named=str(path), fix=fix)


def read_scores(run_dir: Path) -> Scores:
    """What was scored so far; DataError if the file is damaged."""
    return _read(run_dir / "scores.json", Scores)


def load_meanwhile(record: RunRecord) -> None:
    """Load what the scores on page and cards are compared with, beside whatever else is done."""
    parts = result_of(record.stages.split)
    if parts and parts.val_path and parts.val_path.exists():
        texts.load_meanwhile(parts.val_path)


def compared_scores(run_dir: Path) -> tuple[Score, ...]:
    """What was scored so far, before beside after; the page and each card of a command ask for it.
    DataError if the file is damaged."""
    path = run_dir / "scores.json"
    written = path.stat() if path.exists() else None
    return _compared(run_dir, written and (written.st_mtime_ns, written.st_size, written.st_ino))


@lru_cache(maxsize=1)
def _compared(run_dir: Path, written: tuple[int, int, int] | None) -> tuple[Score, ...]:
    scores = read_scores(run_dir)
    return compared(scores.before, scores.after)


@dataclass(frozen=True, kw_only=True)
class TrainerState:
    """The part of Transformers' `trainer_state.json` that is shown."""

    log_history: tuple[CurvePoint, ...] = ()  # several entries may be of one step


def curves_of(run_dir: Path) -> tuple[CurvePoint, ...]:
    """What the trainer logged, from the finished run or from its last checkpoint."""
    states = [run_dir / "trainer_state.json"]
    states += sorted(run_dir.glob("checkpoint-*/trainer_state.json"), key=_step, reverse=True)
    newest = next((path for path in states if path.exists()), states[0])
    points: dict[int, dict[str, float]] = {}
    for entry in _read(newest, TrainerState).log_history:
        known = points.setdefault(entry.step, {})
        for name in (*ALWAYS, *OF_ONLINE, *OF_DEVICE):
            if (value := getattr(entry, name)) is not None:
                known[name] = value
    return tuple(CurvePoint(step=step, **points[step]) for step in sorted(points) if points[step])


def _step(path: Path) -> int:
    number = path.parent.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else 0


def score_lines(run_dir: Path) -> list[str]:
    """The scores that are told first, in one line each; a reward, which has no natural size, with
    the 95% interval of its change, and the accuracy of rewards with its own."""
    lines = []
    for score in compared_scores(run_dir):
        if score.metric not in TOLD:
            continue
        row = score_row(score)
        range_ = f" ({interval_text(score)})" if score.metric in (*REWARDS, JUDGED) else ""
        lines.append(f"{row.name}: {row.before} -> {row.after}{range_} on {row.n} held-out rows")
    return lines


def _samples(scores: Scores) -> tuple[Sample, ...]:
    before, after = scores.before.samples, scores.after.samples
    found = []
    for index in range(max(len(before), len(after))):
        one = after[index] if index < len(after) else before[index]
        old = before[index].answer if index < len(before) else None
        new = after[index].answer if index < len(after) else None
        found.append(
            Sample(
                prompt=one.question,
                expected=one.expected,
                before=old,
                after=new,
                correct_before=None if old is None else old == one.expected,
                correct_after=None if new is None else new == one.expected,
            )
        )
    return tuple(found)


def hashes_of(record: RunRecord) -> dict[str, str]:
    """What the run was made of, by the beginning of its hash."""
    data, model = result_of(record.stages.check), result_of(record.stages.model)
    files_ = {Path(file.path).name: file.sha256[:12] for file in data.files} if data else {}
    base = {Path(model.name).name: fingerprint(model.hashes)} if model and model.hashes else {}
    return {name: digest for name, digest in {**base, **files_}.items() if digest}


def _artefacts(run_dir: Path, record: RunRecord) -> tuple[Artefact, ...]:
    merged, quantized = result_of(record.stages.merge), result_of(record.stages.quantize)
    wanted = (
        ("adapter_model.safetensors", "the adapter"),
        ("train.yaml", "what LLaMA-Factory was given"),
        ("dataset", "the checked rows, their report and what was rejected"),
        ("logs/engine.log", "LLaMA-Factory's whole output"),
    )
    found = [
        Artefact(path=shown(run_dir / name), size=_size(run_dir / name), what=what)
        for name, what in wanted
        if (run_dir / name).exists()
    ]
    if merged is not None and merged.path.is_dir():
        what = "the merged model"
        what += (
            f", of {merged.checkpoint}, not the end of the training" if merged.checkpoint else ""
        )
        found.append(Artefact(path=shown(merged.path), size=_size(merged.path), what=what))
    gguf, adapter = result_of(record.stages.gguf), result_of(record.stages.gguf_adapter)
    found += [
        Artefact(path=shown(file.path), size=file.bytes, what=f"for llama.cpp: {file.type}")
        for file in (*(gguf.files if gguf else ()), *((adapter,) if adapter else ()))
        if file.path.is_file()
    ]
    if quantized is not None and quantized.path.is_dir():
        what = f"the merged model in {quantized.format}, for GPU servers"
        size = _size(quantized.path)
        found.append(Artefact(path=shown(quantized.path), size=size, what=what))
    return tuple(found)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
