"""What a training leaves on disk: weights, and checkpoints to continue from."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fine_tuning.disk import hashes
from fine_tuning.errors import UsageError

WEIGHTS = "weights.jsonl"  # of a run: the hashes of the weights at each step that was saved


def has_weights(folder: Path) -> bool:
    """Whether an adapter or a whole model lies in the folder."""
    if (folder / "adapter_config.json").exists():
        return any(folder.glob("adapter_model.*"))
    kinds = ("model*.safetensors", "pytorch_model*.bin")
    return any(file for kind in kinds for file in folder.glob(kind))


def checkpoints(folder: Path, *, without_optimizer: bool = False) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = [path for path in _numbered(folder) if _complete(path, without_optimizer)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def bytes_of_checkpoints(folder: Path) -> int:
    """What those in the folder take, whole or not."""
    files = (file for found in _numbered(folder) for file in found.rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file())


def set_aside_incomplete(folder: Path, *, without_optimizer: bool = False) -> None:
    """Rename checkpoints whose writing was cut off, so that nothing resumes from them."""
    found = _numbered(folder)
    put_aside([path for path in found if not _complete(path, without_optimizer)], "incomplete")


def put_aside(found: Sequence[Path], why: str) -> None:
    """Rename these checkpoints, so that nothing resumes from them; nothing is deleted."""
    for path in found:
        path.rename(path.with_name(f"{why}-{path.name}-{int(time.time())}"))


def set_aside_damaged(found: Sequence[Path], warn: Callable[[str], None]) -> None:
    """Set the newest of these aside until one is what was written; each is named."""
    for path in reversed(found):
        wrong = hashes.damage(path)
        if not wrong:
            return
        put_aside([path], "damaged")
        warn(f"{path.name}: {wrong}. It is set aside, and nothing continues from it.")


def chosen(folder: Path, wanted: str) -> Path:
    """The checkpoint that `--checkpoint` names: its step, or `best`.

    The best one is that which the training itself called so (`--metric_for_best_model`), else that
    with the smallest loss on the held-out rows. Raises UsageError with those that are there.
    """
    found = {path.name.removeprefix("checkpoint-"): path for path in _numbered(folder)}
    there = ", ".join(sorted(found, key=int)) or "none"
    step = wanted.rstrip("/").rpartition("checkpoint-")[2]
    if step == "best" and found:
        step = _best(folder, found)
        if not step:
            raise UsageError(
                "--checkpoint best: no checkpoint that is kept was evaluated.",
                fix=f"give its step: {there}",
            )
    if step not in found:
        raise UsageError(
            f"--checkpoint {wanted}: {folder} holds no such checkpoint.",
            fix=f"give the step of one that is kept ({there}); --save_total_limit keeps more",
        )
    if not has_weights(found[step]):
        raise UsageError(
            f"{found[step]} holds no weights that can be merged: they lie in parts, one for each "
            "process.",
            fix="leave --checkpoint out: the end of the training is merged",
        )
    return found[step]


def _best(folder: Path, found: Mapping[str, Path]) -> str:
    """The step of the best checkpoint that is there; empty if none was evaluated."""
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    named = Path(state.get("best_model_checkpoint") or "").name.removeprefix("checkpoint-")
    if named in found:
        return named
    losses = {
        str(entry["step"]): float(entry["eval_loss"])
        for entry in state.get("log_history", [])
        if "eval_loss" in entry and str(entry.get("step")) in found
    }
    return min(losses, key=lambda step: losses[step], default="")


def progress(checkpoint: Path) -> tuple[int, int]:
    """The step at which it was saved, and the steps of its training."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return int(state["global_step"]), int(state["max_steps"])


def has_optimizer(checkpoint: Path) -> bool:
    """Whether a training goes on from it as it would have gone on.

    Engines that split a model keep model and optimizer in folders of their own.
    """
    return any(checkpoint.glob("optimizer*")) or any(p.is_dir() for p in checkpoint.iterdir())


def _numbered(folder: Path) -> list[Path]:
    names = folder.glob("checkpoint-*")
    return [path for path in names if path.name.removeprefix("checkpoint-").isdigit()]


def _complete(checkpoint: Path, without_optimizer: bool) -> bool:
    """The trainer writes trainer_state.json after weights, optimizer and random state.

    Files that were deleted since would end the training late, or let it go on with an
    optimizer that starts anew. Engines that split a model keep it in folders of their own.
    """
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if any(entry.is_dir() for entry in checkpoint.iterdir()):
        return True
    optimizer = without_optimizer or (checkpoint / "optimizer.pt").exists()
    return has_weights(checkpoint) and optimizer


def note_weights(checkpoint: Path) -> None:
    """Keep the hashes of a checkpoint's weights in the run, which outlive the checkpoint."""
    known = hashes.known(checkpoint)
    found = {name: known[name] for name in known if name.endswith((".safetensors", "model.bin"))}
    step = int(checkpoint.name.removeprefix("checkpoint-"))
    with (checkpoint.parent / WEIGHTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "files": found}) + "\n")


def noted_weights(run_dir: Path) -> Mapping[int, Mapping[str, str]]:
    """The hashes of the weights by the step of their saving; a damaged line is left out."""
    found: dict[int, Mapping[str, str]] = {}
    path = run_dir / WEIGHTS
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            found[int(entry["step"])] = dict(entry["files"])
        except (ValueError, KeyError, TypeError):
            continue
    return found
