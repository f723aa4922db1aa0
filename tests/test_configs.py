"""Every shipped preset and launcher file works and says how to use it."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import preset_names, resolve
from fine_tuning.values.tables.methods import METHODS, SHORT_FOR
from fine_tuning.values.tables.objectives import OBJECTIVES
from tests.trainings import Planned, planned_as, train_here, weights_of

CONFIGS = Path(__file__).parents[1] / "configs"
PRESETS = sorted(CONFIGS.glob("*.yaml"))
LAUNCHERS = sorted(CONFIGS.glob("*.json"))


def test_every_method_and_every_stage_has_a_preset_of_its_name() -> None:
    names = set(preset_names())
    assert {*METHODS, *OBJECTIVES} <= names
    for name in names & {*METHODS, *OBJECTIVES}:
        spec = resolve(COMMANDS["run"], ["--preset", name]).spec
        assert name in (spec.method, spec.stage)
    assert {f"{name}-4bit" for name in SHORT_FOR} <= names


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_resolves_without_a_doubt(path: Path) -> None:
    job = resolve(COMMANDS["run"], ["--preset", path.stem])
    assert set(job.sources.values()) == {"preset"}
    assert job.warnings == ()


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_begins_with_commands_that_resolve(path: Path) -> None:
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    program = "# python llama_factory_fine_tuning.py "
    assert first.startswith(f"{program}--preset {path.stem} ")
    resolve(COMMANDS["run"], shlex.split(first.removeprefix(program)))
    changed = shlex.split(second.partition(": ")[2])
    assert changed[:2] == ["--preset", path.stem]
    job = resolve(COMMANDS["run"], changed)
    assert "you" in job.sources.values()


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_says_what_its_numbers_mean(path: Path) -> None:
    """`method`, `stage` and `dataset_format` speak for themselves; the header is about them."""
    text = path.read_text(encoding="utf-8")
    plain = {"method", "stage"}
    for line in text.splitlines():
        if line and not line.startswith("#") and line.partition(":")[0] not in plain:
            assert " # " in line, line
    assert isinstance(yaml.safe_load(text), dict)


ON_A_CPU = [  # DeepSpeed is accepted only from a distributed launcher
    name
    for name in preset_names()
    if "deepspeed" not in resolve(COMMANDS["run"], ["--preset", name]).spec.engine_args
]


def planned_preset(folder: Path, model: Path, name: str, *more: object) -> Planned:
    """The plan of a run with this preset."""
    words = ["--preset", name, "--use_cpu", *map(str, more)]
    return planned_as(folder, model, resolve(COMMANDS["run"], words).spec)


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a trainer with those of its parts."""
    inner = [flat(value) for value in settings.values() if isinstance(value, Mapping)]
    return {**settings, **{name: it for part in inner for name, it in part.items()}}


@pytest.mark.parametrize("name", ON_A_CPU)
def test_a_preset_is_planned_as_it_says(name: str, tmp_path: Path) -> None:
    """All that it sets reaches the trainer."""
    plan = planned_preset(tmp_path, tmp_path / "m", name)
    spec = resolve(COMMANDS["run"], ["--preset", name]).spec
    made = flat(plan.train.all)
    for key, value in spec.engine_args.items():
        assert made[key] == value, key
    assert plan.plan.chosen.method == spec.method
    assert plan.plan.rows.stage == (spec.stage or "sft")
    assert plan.plan.chosen.rate == spec.learning_rate


@pytest.mark.engine
def test_llamafactory_accepts_every_preset(tmp_path: Path) -> None:
    """What it refuses here it would refuse after the model was loaded."""
    from llamafactory.hparams import get_train_args

    from fine_tuning.engine.worker.training.adapters.peft import engine_arguments

    for name in ON_A_CPU:
        settings = planned_preset(tmp_path / name, tmp_path / "m", name).train.all
        if "online" not in settings:
            get_train_args(engine_arguments(settings))


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("name", ON_A_CPU)
def test_a_preset_trains(name: str, tiny_model: Path, tmp_path: Path) -> None:
    """For real, two steps on a model so small that some of its numbers must be smaller too."""
    small: list[object] = ["--max_steps", 2, "--batch_size", 2, "--gradient_accumulation_steps", 1]
    smaller: dict[str, list[object]] = {
        "freeze": ["--freeze_trainable_layers", 1],
        "oft": ["--oft_block_size", 8],
        "grpo": ["--num_generations", 2, "--max_completion_length", 8],
        "rloo": ["--num_generations", 2, "--max_completion_length", 8],
        "long-context": ["--max_seq_length", 64],
    }
    plan = planned_preset(tmp_path, tiny_model, name, *small, *smaller.get(name, []))
    train_here(tmp_path, plan)
    weights = weights_of(tmp_path / "run")
    assert weights and all(bool(it.isfinite().all()) for it in weights.values())


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.stem)
def test_a_launcher_file_leaves_the_training_settings_to_the_run(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_clipping"):
        assert config[name] == "auto"
    job = resolve(COMMANDS["run"], ["--deepspeed", f"configs/{path.name}"])
    assert job.spec.engine_args["deepspeed"] == str(path)
