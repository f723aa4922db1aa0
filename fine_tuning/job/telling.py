"""What the screen is told between the stages."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fine_tuning import report
from fine_tuning.dataset.prepare.fit import CUT_TURNS, OVERLONG, TRUNCATED
from fine_tuning.engine.plan.train_yaml import by_hand
from fine_tuning.job.opening import Job
from fine_tuning.report.proof import is_whole, proof_text
from fine_tuning.report.scores import score_row
from fine_tuning.screen import Screen
from fine_tuning.units import counted
from fine_tuning.values.data import SplitData
from fine_tuning.values.plan import GIB, OVERHEAD, MemoryPlan, Plan
from fine_tuning.values.tokens import TemplateLook, TokenLook

OUTCOMES = {
    OVERLONG: "longer than the cutoff, dropped",
    CUT_TURNS: "longer than the cutoff, only the rounds that fit are kept",
    TRUNCATED: "longer than the cutoff, cut off by the engine",
    "duplicate": "repeats of another row, dropped",
    "leak": "also in the validation data, dropped from training",
    "mix": "left out by the weights of --mix",
}


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


@contextmanager
def download(screen: Screen, stage: str, name: str) -> Iterator[Callable[[int, int], None]]:
    """Draw a download: a stage that begins with its first bytes, if there are any."""
    begun = False

    def show(done: int, total: int) -> None:
        nonlocal begun
        if not begun:
            screen.begin(stage, total, "bytes")
            begun = True
        screen.advance(done, total)

    yield show
    if begun:
        screen.end(name)


def shown(path: Path) -> str:
    """A path as people read it: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def token_warnings(look: TokenLook) -> list[str]:
    """What the look at the tokens found that a person should know before training."""
    found = _template_warnings(look.template)
    if look.untrained_answers:
        found.append(
            f"{look.untrained_answers:,} answers have the weight 0: they are read, not trained"
        )
    for view in look.views:
        if view.row in look.overlong:
            continue  # what becomes of it is decided and said later
        if view.all_masked:
            found.append(f"row {view.row}: nothing is trained, every label is masked")
        elif not view.stop_trained:
            found.append(f"row {view.row}: the end-of-turn token is not trained")
    return found


def _template_warnings(template: TemplateLook) -> list[str]:
    """How the trained template differs from the one that a server will use, and what to do."""
    name = template.name or "of the model"
    told = []
    if template.difference is not None:
        trained, own = template.difference.beside
        told.append(
            f"template '{name}' does not render like the model's own chat template (first "
            f"difference at token {template.difference.at}: trained {trained} / own {own}); a "
            "server that uses the model's own would send other prompts than were trained"
            + (", so the trained template is shipped" if template.shipped else "")
        )
    if template.shipped is False:
        left = "the model's own is shipped" if template.own else "none is shipped"
        told.append(
            f"template '{name}' cannot be shipped as a chat template ({template.unwritten}), so "
            f"{left}; serve with LLaMA-Factory's own template '{name}', or train with a --template "
            "that renders like the model's own"
        )
    return told


def untrained_text(encoded: Mapping[str, Any]) -> str:
    """How many encoded rows, or packed blocks, have nothing left to train."""
    count, rows = encoded["untrained"]["train"], encoded["rows"]["train"]
    return (
        f"{count:,} of {rows:,} encoded rows train nothing: what the cutoff leaves of them are "
        "answers with the weight 0; a larger --max_seq_length, or --overlong auto, keeps more"
    )


def outcome_text(outcome: str, count: int) -> str:
    """What became of so many rows."""
    return f"{counted(count, 'row')}: {OUTCOMES.get(outcome, outcome)}"


def say_split(job: Job, parts: SplitData) -> None:
    """What became of the rows, in one line each."""
    job.screen.say(f"{counted(parts.train_rows, 'row')} to train on, {parts.val_rows:,} held out.")
    for reason, count in {**parts.dropped, **parts.cut}.items():
        job.screen.warn(outcome_text(reason, count))
    for note in parts.notes:
        job.screen.say(note)


def memory_text(memory: MemoryPlan) -> str:
    """What one device needs, by what needs it."""
    parts = (
        ("weights", memory.weights),
        ("gradients and optimizer", memory.training_state),
        ("activations", memory.activations),
        ("overhead", OVERHEAD),
    )
    listed = " + ".join(f"{name} {size / GIB:.1f}" for name, size in parts)
    return (
        f"Memory per device, about {memory.total / GIB:.1f} GiB at {memory.batch_size} rows per "
        f"step: {listed}."
    )


def _no_estimate(plan: Plan) -> str:
    if plan.settings.get("deepspeed") or plan.settings.get("fsdp"):
        return "Memory: no estimate with DeepSpeed or FSDP, which spread the model over devices."
    return "Memory: no estimate for a model of this kind."


def show_generated(job: Job, plan: Plan) -> None:
    """`--dry_run`: the memory plan, the two generated files, the engine's command."""
    if not job.folder.stage("train"):
        job.folder.record["status"] = "dry_run"
        job.folder.save()
    job.screen.say(memory_text(plan.memory) if plan.memory else _no_estimate(plan))
    for path in (job.folder.dataset / "dataset_info.json", job.folder.path / "train.yaml"):
        job.screen.file(path, path.read_text(encoding="utf-8"))
    job.screen.say(f"The same training by hand: {by_hand(plan, job.folder.path / 'train.yaml')}")


def show_scores(job: Job) -> None:
    """The scores before and after, in one line each."""
    for score in report.collect(job.folder.path).scores:
        row = score_row(score)
        job.screen.say(f"{row.name}: {row.before} -> {row.after} on {row.n} held-out rows")


def show_proof(job: Job) -> None:
    """Whether the merged model was seen to answer like base + adapter; a warning if it was not."""
    proof = report.collect(job.folder.path).proof
    if proof is not None:
        tell = job.screen.say if is_whole(proof) else job.screen.warn
        tell(proof_text(proof))
