"""`--tasks`: the benchmarks of lm-evaluation-harness, if it is installed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fine_tuning.disk.files import read_json
from fine_tuning.engine.process.chatting import SpokenModel, Voices
from fine_tuning.errors import EngineError, EnvironmentProblem, UsageError
from fine_tuning.screen import Screen
from fine_tuning.values.answers.evaluation import TaskFound

HARNESS = "lm_eval"
VERSION = "0.4.13"  # that was tried
Results = Mapping[str, Mapping[str, Any]]


def require_harness(tasks: Sequence[str]) -> None:
    """Raise EnvironmentProblem if tasks are asked for, and nothing is there that knows them."""
    if tasks and find_spec(HARNESS) is None:
        raise EnvironmentProblem(
            "--tasks needs lm-evaluation-harness, which is not installed.",
            fix=f"{sys.executable} -m pip install {HARNESS}=={VERSION}",
        )


def tasks_found(
    voices: Voices,
    tasks: Sequence[str],
    *,
    tasks_dir: Path | None,
    use_cpu: bool,
    folder: Path,
    screen: Screen,
) -> tuple[TaskFound, ...]:
    """What the harness says of the base and of the tuned model, one after the other.

    Raises EngineError, with the log, if it fails.
    """
    sides: dict[str, Results] = {}
    for name, model in (("base", voices.base), ("tuned", voices.tuned)):
        if model is None:
            continue
        screen.begin(f"tasks_{name}")
        out = folder / f"tasks-{name}"
        command = [
            *(sys.executable, "-m", HARNESS, "run", "--model", "hf"),
            *("--model_args", *model_arguments(model)),
            *("--tasks", ",".join(tasks), "--output_path", str(out)),
            *("--batch_size", "8" if use_cpu else "auto"),
            *(("--device", "cpu") if use_cpu else ()),
            *(("--include_path", str(tasks_dir.absolute())) if tasks_dir else ()),
            *(("--apply_chat_template",) if has_template(model) else ()),
        ]
        sides[name] = _run(command, out, folder / f"tasks-{name}.log")
        screen.end("")
    return tuple(_beside(sides.get("base", {}), sides["tuned"]))


def model_arguments(model: SpokenModel) -> list[str]:
    """The model as the harness takes it. Raises UsageError for one that it cannot load."""
    settings = model.settings
    if settings.get("adapter_name_or_path"):
        raise UsageError(
            "--tasks cannot load adapters one upon the other.",
            fix="merge them first (`export`), and give the merged model",
        )
    found = [f"pretrained={model.location}"]
    if model.adapter:
        found.append(f"peft={model.adapter}")
    for adapter in _adapters(model):
        if (Path(adapter) / "tokenizer_config.json").exists():
            found.append(f"tokenizer={adapter}")  # with the chat template that was trained
    bits = settings.get("quantization_bit")
    if bits:
        found.append(f"load_in_{bits}bit=True")
    if settings.get("trust_remote_code"):
        found.append("trust_remote_code=True")
    return found


def has_template(model: SpokenModel) -> bool:
    """Whether the files of model or adapter bring a chat template, and it is asked by one."""
    if model.documents:
        return False
    return any(map(_brings_template, (*_adapters(model), model.location)))


def _adapters(model: SpokenModel) -> tuple[str, ...]:
    """The one adapter of an evaluation, also beside its base."""
    return (model.adapter,) if model.adapter else model.beside


def _brings_template(folder: str) -> bool:
    config = Path(folder) / "tokenizer_config.json"
    if not folder or not Path(folder).is_dir():
        return False
    if (Path(folder) / "chat_template.jinja").exists():
        return True
    return config.exists() and "chat_template" in json.loads(config.read_text(encoding="utf-8"))


def _run(command: Sequence[str], out: Path, log: Path) -> Results:
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUTF8": "1"},
            check=False,
        )
    written = sorted(out.rglob("results*.json"))
    if done.returncode or not written:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise EngineError(
            "lm-evaluation-harness failed.",
            why=said[-1] if said else f"exit code {done.returncode}",
            fix=f"its whole output: {log}",
        )
    results: Results = read_json(written[-1], "repeat the command")["results"]
    return results


def _beside(base: Results, tuned: Results) -> Iterator[TaskFound]:
    """Every number of every task; `acc,none` is the metric acc, `acc_stderr,none` its error."""
    for task, numbers in tuned.items():
        for key, value in numbers.items():
            metric, _, filtered = key.partition(",")
            if not isinstance(value, int | float) or not filtered or "_stderr" in metric:
                continue
            error = numbers.get(f"{metric}_stderr,{filtered}")
            before = base.get(task, {}).get(key)
            yield TaskFound(
                task=task,
                metric=metric if filtered == "none" else f"{metric} ({filtered})",
                base=float(before) if before is not None else None,
                tuned=float(value),
                error=float(error) if isinstance(error, int | float) else None,
            )


def task_lines(found: Sequence[TaskFound]) -> Iterator[str]:
    """One line a number."""
    for it in found:
        before = "" if it.base is None else f"{it.base:.4g} -> "
        error = "" if it.error is None else f" ± {it.error:.2g} (standard error)"
        yield f"{it.task} {it.metric}: {before}{it.tuned:.4g}{error}"
