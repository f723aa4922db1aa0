"""The arguments read from source are those of the real dataclasses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fine_tuning.engine.arguments.installed import EngineArgument, engine_arguments

# their choices are computed when Transformers is imported
COMPUTED = {"log_level", "log_level_replica"}

REAL = """
import dataclasses, json
from transformers import HfArgumentParser
from llamafactory.hparams import parser
found = {}
import trl
for group in [*parser._TRAIN_ARGS, trl.GRPOConfig, trl.RLOOConfig]:
    written = {item.name: str(item.type) for item in dataclasses.fields(group)}  # it rewrites them
    actions = {a.dest: a for a in HfArgumentParser(group)._actions}
    for item in dataclasses.fields(group):
        said = item.metadata.get("help", "").lower()
        left_out = item.name in found or item.name.startswith("vllm_") or "deprecated" in said
        if group.__module__.startswith("trl.") and left_out:
            continue
        if item.init:
            action = actions[item.name]
            kind = getattr(action.type, "__name__", "str")
            choices = [getattr(c, "value", c) for c in action.choices or ()]
            found[item.name] = [kind, choices, written[item.name]]
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.engine
def test_same_names_types_and_choices_as_the_real_dataclasses() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REAL], capture_output=True, text=True, check=True, timeout=120
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND"))
    real = json.loads(line.removeprefix("FOUND"))
    ours = engine_arguments()
    assert set(ours) == set(real)
    for name, (kind, choices, written) in real.items():
        argument = ours[name]
        if name in COMPUTED:
            continue
        if choices:
            assert list(argument.choices) == choices, name
        elif kind in ("int", "float") and "list[" not in written:
            assert argument.types == (kind,), name
        elif kind == "string_to_bool" and "str" not in written:
            assert argument.types == ("bool",), name
        for word in ("dict", "list"):
            stands = re.search(rf"\b{word}([\[\],]| \|)", written) is not None
            assert (word in argument.types) == stands, (name, written)


def test_reading_needs_no_import_of_the_engine() -> None:
    code = (
        "import sys; from fine_tuning.engine.arguments.installed import engine_arguments;"
        "assert len(engine_arguments()) > 300;"
        "print([m for m in ('torch', 'transformers', 'llamafactory') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_answer_is_kept_and_a_broken_cache_is_read_anew(own_cache: Path) -> None:
    first = engine_arguments()
    (kept,) = own_cache.rglob("arguments-*.json")
    assert engine_arguments() == first
    kept.write_text("{")
    assert engine_arguments() == first


def test_a_cache_that_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "file"))
    assert "lora_dropout" in engine_arguments()


def test_defaults_and_help_are_those_of_the_source() -> None:
    arguments = engine_arguments()
    assert arguments["infer_backend"].default == "huggingface"
    assert arguments["lora_dropout"].default == "0.0"
    assert arguments["lora_dropout"].help == "Dropout rate for the LoRA fine-tuning."
    assert arguments["weight_decay"].source == "transformers"
    assert arguments["freeze_trainable_modules"].source == "llamafactory"


def argument(*types: str, choices: tuple[str, ...] = ()) -> EngineArgument:
    return EngineArgument("x", types, "", "", choices, "llamafactory")


@pytest.mark.parametrize(
    ("types", "text", "value"),
    [
        (("float",), "1e-4", 1e-4),
        (("float",), "10", 10),
        (("int",), "-1", -1),
        (("int",), "1e3", 1000),
        (("bool",), "yes", True),
        (("bool",), "Off", False),
        (("bool",), "0", False),
        (("dict", "str"), '{"num_cycles": 2}', {"num_cycles": 2}),
        (("dict", "str"), "configs/deepspeed_zero2.json", "configs/deepspeed_zero2.json"),
        (("str", "list"), "wandb", "wandb"),
        (("list",), "loss,inputs", ["loss", "inputs"]),
        (("str", "bool"), "all", "all"),
        (("str", "bool"), "true", True),
        (("str",), "01", "01"),
    ],
)
def test_a_word_becomes_a_value_of_the_arguments_type(
    types: tuple[str, ...], text: str, value: object
) -> None:
    found = argument(*types).value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("types", "text", "message"),
    [
        (("int",), "2.5", "must be a whole number, not '2.5'"),
        (("int",), "inf", "must be a whole number, not 'inf'"),
        (("float",), "nan", "must be a number, not 'nan'"),
        (("bool",), "maybe", "must be true or false, not 'maybe'"),
        (("dict", "str"), '{"a": ', "must be a JSON object"),
    ],
)
def test_a_word_of_another_type_is_refused(types: tuple[str, ...], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.split(",")[0]):
        argument(*types).value(text)


def test_a_word_outside_the_choices_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="must be one of nf4, fp4, not 'int4'"):
        argument("str", choices=("nf4", "fp4")).value("int4")
