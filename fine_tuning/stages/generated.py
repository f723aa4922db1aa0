"""What LLaMA-Factory finds of a planned run: its two files, and the entries of its WebUI."""

from pathlib import Path
from typing import Any

from fine_tuning import files
from fine_tuning.dataset.prepare import register
from fine_tuning.engine.trainers.train_yaml import by_hand, train_yaml
from fine_tuning.engine.trainers.trainer import TrainSettings
from fine_tuning.screen import Screen
from fine_tuning.values.data import CheckedData, SplitData
from fine_tuning.values.plan import GIB, OVERHEAD, MemoryPlan, Places, Plan


def places_of(run_dir: Path, dataset: Path, model: str) -> Places:
    """Where the parts of a run lie, and by which names LLaMA-Factory finds its rows."""
    return Places(
        run_dir=run_dir,
        dataset_dir=dataset,
        encoded=dataset / "encoded",
        model=model,
        train_name=register.entry_name(run_dir, "train"),
        validation_name=register.entry_name(run_dir, "validation"),
    )


def dataset_entries(data: CheckedData, parts: SplitData, places: Places) -> dict[str, Any]:
    """LLaMA-Factory's entries of the prepared rows."""
    named = ((places.train_name, parts.train_path), (places.validation_name, parts.val_path))
    return {
        name: register.dataset_entry(data.kind, data.columns, str(path))
        for name, path in named
        if path is not None
    }


def register_rows(dataset_dir: Path, data: CheckedData, parts: SplitData, places: Places) -> None:
    """List the prepared rows where LLaMA-Factory's WebUI looks."""
    register.register(dataset_dir, dataset_entries(data, parts, places))


def write_generated(
    plan: Plan, made: TrainSettings, data: CheckedData, parts: SplitData, places: Places
) -> tuple[Path, Path]:
    """Write `dataset_info.json` and `train.yaml` into the run; gives their paths."""
    info, settings = places.dataset_dir / register.DATASET_INFO, places.run_dir / "train.yaml"
    register.write_dataset_info(info, dataset_entries(data, parts, places))
    files.write_text(settings, train_yaml(plan, made, settings))
    return info, settings


def show_generated(
    plan: Plan, made: TrainSettings, written: tuple[Path, Path], screen: Screen
) -> None:
    """`--dry_run`: the memory plan, the two generated files, the engine's command."""
    memory = plan.chosen.memory
    screen.say(memory_text(memory) if memory else _no_estimate(made))
    for path in written:
        screen.file(path, path.read_text(encoding="utf-8"))
    screen.say(f"The same training by hand: {by_hand(plan, made, written[-1])}")


def memory_text(memory: MemoryPlan) -> str:
    """What one device needs, by what needs it."""
    parts = (
        ("frozen weights", memory.weights),
        ("trained ones with gradients and optimizer", memory.training_state),
        ("activations and logits", memory.activations),
        ("overhead", OVERHEAD),
    )
    listed = " + ".join(f"{name} {size / GIB:.1f}" for name, size in parts)
    return (
        f"Memory per device, about {memory.total / GIB:.1f} GiB at {memory.batch_size} rows per "
        f"step: {listed}."
    )


def _no_estimate(made: TrainSettings) -> str:
    if made.splits_the_model:
        return "Memory: no estimate with DeepSpeed or FSDP, which spread the model over devices."
    return "Memory: no estimate for a model of this kind."
