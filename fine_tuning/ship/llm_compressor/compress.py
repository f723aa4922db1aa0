"""A model's directory in another number format, written by llm-compressor in its own process."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fine_tuning.disk.files import DISK_FULL, FREE_SPACE, scratch
from fine_tuning.disk.resources import python_path
from fine_tuning.errors import EngineError
from fine_tuning.ship.llm_compressor.plan import matrices
from fine_tuning.ship.weights import shapes

MODULE = "fine_tuning.engine.worker.compressing"
PROGRESS = re.compile(r"\((\d+)/(\d+)\): Propagating")
SMALL = 256 * 2**20  # bytes of a model for which more threads only wait for each other
# What it writes; everything else in the directory is that of the merged model.
WEIGHTS = ("model*.safetensors", "model.safetensors.index.json", "recipe.yaml")
OWN = ("hashes.json", "README.md", "Modelfile")  # of the merged model alone
OnProgress = Callable[[int, int], None]


def compress(
    tool: Path,
    model: Path,
    target: Path,
    *,
    method: str,
    group: int,
    rows: Sequence[Sequence[int]],
    environment: Mapping[str, str],
    log: Path,
    told: OnProgress,
) -> list[str]:
    """Write the model to `target` and give the names of its quantised layers. Raises EngineError
    if llm-compressor fails, or has left layers as they were."""
    with scratch(target.parent) as folder:
        job, made = folder / "job.json", folder / "made"
        asked = {"model": str(model), "target": str(made), "method": method, "group": group}
        job.write_text(json.dumps({**asked, "rows": rows}), encoding="utf-8")
        _run(tool, model, job, environment, log, told)
        layers = require_all(made, model)
        take(made, model, target)
    return layers


def _run(
    tool: Path,
    model: Path,
    job: Path,
    environment: Mapping[str, str],
    log: Path,
    told: OnProgress,
) -> None:
    stored = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    threads = {"OMP_NUM_THREADS": "1"} if stored < SMALL else {}
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(tool), python_path(os.environ.get("PYTHONPATH"))]
    with log.open("ab") as kept:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE, str(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=job.parent,  # it writes a folder of logs where it stands
            env={
                **os.environ,
                **environment,
                **threads,
                "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
                "HF_HUB_OFFLINE": "1",
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                "PYTHONUNBUFFERED": "1",
            },
        )
        assert process.stdout is not None
        last = [""]
        try:
            for line in process.stdout:
                kept.write(line)
                text = line.decode("utf-8", "replace")
                if found := PROGRESS.search(text):
                    told(int(found[1]), int(found[2]))
                last = [*last, *filter(str.strip, text.splitlines())][-20:]
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
    if code:
        raise _explained(code, last, log)


def _explained(code: int, lines: Sequence[str], log: Path) -> EngineError:
    what = "llm-compressor did not write the model."
    if any("No space left on device" in line for line in lines):
        return EngineError(what, why=DISK_FULL, fix=FREE_SPACE)
    if code == -9:
        why = "the system ended it, as it does when the memory is exhausted"
        return EngineError(what, why=why, fix="repeat the command on a machine with more memory")
    return EngineError(what, why=lines[-1].strip()[-300:], fix=f"its whole output is in {log}")


def require_all(made: Path, model: Path) -> list[str]:
    """The layers that have a scale: all of the model's. It leaves out in silence what it does not
    know as such."""
    quantised = sorted(
        name.removesuffix(".weight_scale")
        for name, _ in shapes(made)
        if name.endswith(".weight_scale")
    )
    missing = sorted(set(matrices(model)) - set(quantised))
    if missing or not quantised:
        raise EngineError(
            f"llm-compressor left {len(missing)} of {len(matrices(model))} layers as they were.",
            why=f"the first is {missing[0]}" if missing else "the model has none that it knows",
            fix="serve the merged model as it is; nothing was kept",
        )
    return quantised


def take(made: Path, model: Path, target: Path) -> None:
    """Weights and recipe as they were made; tokenizer, template, generation config and the config
    itself are the model's, but for the word of its format."""
    for path in (path for pattern in WEIGHTS for path in made.glob(pattern)):
        path.chmod(0o644)  # it writes them for its own user alone
        shutil.move(path, target / path.name)
    for path in model.iterdir():
        is_weight = path.suffix in (".safetensors", ".bin") or path.name.endswith(".index.json")
        if path.is_file() and not is_weight and path.name not in OWN:
            shutil.copy(path, target / path.name)
    written = json.loads((made / "config.json").read_text(encoding="utf-8"))
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = written["quantization_config"]
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
