"""What the worker is asked: plain values, LLaMA-Factory's names."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning.dataset.types import CheckedData, SplitData
from fine_tuning.engine.launch import Worker, free_port
from fine_tuning.engine.model_source import is_local
from fine_tuning.engine.plan.settings import Plan
from fine_tuning.job.opening import Job
from fine_tuning.job.telling import events_to
from fine_tuning.spec import RunSpec

USUAL_PORT = 29500  # torchrun's own default


def environment(spec: RunSpec, model: str) -> dict[str, str]:
    """Environment of the worker: no hub requests for local models, no GPU with --use_cpu."""
    found: dict[str, str] = {}
    if is_local(model):
        found["HF_HUB_OFFLINE"] = "1"
    if spec.use_cpu:
        found["CUDA_VISIBLE_DEVICES"] = ""
    elif spec.nproc_per_node == 1 and spec.nnodes == 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        found["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0] if visible is not None else "0"
    processes = spec.nproc_per_node or 1
    if processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    return found


def meeting_port(plan: Plan) -> int:
    """The port at which the processes meet: the same on every node, free on a single one."""
    if plan.launch["master_port"]:
        return int(plan.launch["master_port"])
    return USUAL_PORT if plan.launch["nnodes"] > 1 else free_port()


def token_request(
    spec: RunSpec, model: str, data: CheckedData, folder: Path, *, show: Sequence[str]
) -> dict[str, Any]:
    """What the worker needs for its look at the tokens."""
    return {
        "model": model,
        "model_args": model_arguments(spec),
        "data_args": template_arguments(spec),
        "rows_path": str(data.rows_path),
        "kind": data.kind,
        "template": spec.template,
        "max_seq_length": spec.max_seq_length,
        "lengths_path": str(folder / "lengths.u32"),
        "validation_path": str(data.validation_path) if data.validation_path else None,
        "show": list(show),
    }


def model_arguments(spec: RunSpec) -> dict[str, Any]:
    """Passed-through arguments that decide how the tokenizer is loaded."""
    names = (
        "trust_remote_code",
        "use_fast_tokenizer",
        "cache_dir",
        "model_revision",
        "split_special_tokens",
        "add_tokens",
        "add_special_tokens",
    )
    return {name: spec.engine_args[name] for name in names if name in spec.engine_args}


def template_arguments(spec: RunSpec) -> dict[str, Any]:
    """Passed-through arguments that decide how rows are rendered and masked."""
    names = (
        "default_system",
        "enable_thinking",
        "tool_format",
        "mask_history",
        "train_on_prompt",
    )
    return {name: spec.engine_args[name] for name in names if name in spec.engine_args}


def makes_adapter(plan: Plan) -> bool:
    """Whether training leaves an adapter (else a whole model)."""
    return plan.settings["finetuning_type"] in ("lora", "oft")


def scoring(job: Job, parts: SplitData, plan: Plan) -> dict[str, Any] | None:
    """What is scored before and after; None if nothing is held out or can be answered."""
    if not parts.val_path or not parts.val_rows or not job.spec.score_samples:
        return None
    if plan.settings["stage"] not in ("sft", "pt"):
        return None
    kind = "text" if plan.settings["stage"] == "pt" else "chat"
    return {
        "rows_path": str(parts.val_path),
        "samples": min(job.spec.score_samples, parts.val_rows),
        "kind": kind,
    }


def inference_settings(job: Job, plan: Plan, *, tuned: bool) -> dict[str, Any]:
    """LLaMA-Factory's settings to load the base model, or the tuned one."""
    names = ("model_name_or_path", "template", "enable_thinking", "trust_remote_code", "flash_attn")
    settings = {name: plan.settings[name] for name in names if name in plan.settings}
    if not tuned:
        return settings
    settings["finetuning_type"] = plan.settings["finetuning_type"]
    if makes_adapter(plan):
        settings["adapter_name_or_path"] = str(job.folder.path)
    else:
        settings["model_name_or_path"] = str(job.folder.path)
    return settings


def export_settings(job: Job, plan: Plan) -> dict[str, Any]:
    """LLaMA-Factory's export settings; quantisation must not reach it (it cannot merge then)."""
    settings = inference_settings(job, plan, tuned=True)
    names = ("export_size", "export_device", "export_legacy_format")
    settings |= {name: plan.settings[name] for name in names if name in plan.settings}
    return {"export_size": 5, **settings}


def template_differs(job: Job) -> bool:
    """Whether the trained template is not the one in the model's tokenizer files."""
    parity = job.folder.stage("tokens")["result"]["template"]["parity"]
    return bool(parity != "equal")


def score(
    job: Job, worker: Worker, plan: Plan, what: Mapping[str, Any], name: str
) -> Mapping[str, Any]:
    """Score in the worker by itself, where training ran in other processes."""
    job.screen.begin(f"score_{name}", what["samples"], "rows")
    settings = inference_settings(job, plan, tuned=name == "after")
    if "quantization_bit" in plan.settings:
        settings["quantization_bit"] = plan.settings["quantization_bit"]
        settings["quantization_method"] = plan.settings["quantization_method"]
    metrics = worker.request(
        "score",
        {"settings": settings, "scoring": what, "out": str(job.folder.scores), "name": name},
        events_to(job.screen),
    )
    job.screen.end("")
    return metrics
