"""Every shipped preset and launcher file works and says how to use it."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import preset_names, resolve
from fine_tuning.engine.arguments import TRL, engine_arguments
from fine_tuning.values.objectives import OBJECTIVES

CONFIGS = Path(__file__).parents[1] / "configs"
PRESETS = sorted(CONFIGS.glob("*.yaml"))
LAUNCHERS = sorted(CONFIGS.glob("*.json"))


def test_there_are_presets_for_the_common_methods() -> None:
    assert {"lora", "qlora-4bit", "qlora-8bit", "full", "dpo", "pretrain"} <= set(preset_names())


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


ENGINE_CHECK = """
import json, sys
from llamafactory.hparams import get_train_args
common = dict(model_name_or_path="m", output_dir=sys.argv[2], do_train=True, dataset="d",
              template="default", use_cpu=True, report_to="none")
for name, settings in json.loads(sys.argv[1]).items():
    try:
        get_train_args({**common, **settings})
    except Exception as error:
        print("REFUSED", name, error)
print("CHECKED")
"""


@pytest.mark.engine
def test_llamafactory_accepts_every_preset_together_with_its_method(tmp_path: Path) -> None:
    """But for DeepSpeed, which it accepts only from a distributed launcher."""
    settings = {}
    for name in preset_names():
        spec = resolve(COMMANDS["run"], ["--preset", name]).spec
        if "deepspeed" not in spec.engine_args:
            bits = {"4bit": {"quantization_bit": 4}, "8bit": {"quantization_bit": 8}, "none": {}}
            online = OBJECTIVES[spec.stage or "sft"].online is not None
            stage = "sft" if online else spec.stage or "sft"
            method = {"finetuning_type": spec.method, "stage": stage}
            known = engine_arguments()
            given = {n: it for n, it in spec.engine_args.items() if known[n].source != TRL}
            settings[name] = {**given, **method, **bits[spec.quantization]}
    command = [sys.executable, "-c", ENGINE_CHECK, json.dumps(settings), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "CHECKED" in done.stdout, done.stderr[-2000:]
    assert "REFUSED" not in done.stdout, done.stdout


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.stem)
def test_a_launcher_file_leaves_the_training_settings_to_the_run(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_clipping"):
        assert config[name] == "auto"
    job = resolve(COMMANDS["run"], ["--deepspeed", f"configs/{path.name}"])
    assert job.spec.engine_args["deepspeed"] == str(path)
