"""`train.yaml`: what LLaMA-Factory is given, in a form that works by hand."""

import shlex
from pathlib import Path

import yaml

from fine_tuning.engine.trainers.trainer import TrainSettings
from fine_tuning.values.plan import Plan


def by_hand(plan: Plan, made: TrainSettings, path: Path) -> str:
    """The shell command that does the same training without us, into a new directory; or why
    there is none."""
    if made.alone:
        return f"not possible, {made.alone}"
    command = f"llamafactory-cli train {shlex.quote(str(path))} output_dir=NEW_DIRECTORY"
    processes, world = plan.chosen.processes, plan.chosen.world
    if world == 1:
        # llamafactory-cli would take all GPUs, and another number of rows per update
        return f"CUDA_VISIBLE_DEVICES=0 {command}" if plan.gpus > 1 else command
    nodes = world // processes
    return f"FORCE_TORCHRUN=1 NPROC_PER_NODE={processes} NNODES={nodes} {command}"


def train_yaml(plan: Plan, made: TrainSettings, path: Path) -> str:
    """The settings as YAML; strings that YAML would read as numbers or truths are quoted."""
    body = yaml.safe_dump(dict(made.by_hand), sort_keys=False, allow_unicode=True, width=1000)
    return f"# {by_hand(plan, made, path)}\n{body}"
