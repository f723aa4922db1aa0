"""What the worker is asked: plain values, LLaMA-Factory's names."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fine_tuning.engine.launch import Worker, free_port
from fine_tuning.hubs import on_openmind
from fine_tuning.job.opening import Job
from fine_tuning.job.telling import events_to
from fine_tuning.values.data import CheckedData, SplitData
from fine_tuning.values.plan import Plan
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import TemplateLook, TokenLook

USUAL_PORT = 29500  # torchrun's own default
MODEL_ARGUMENTS = (
    "trust_remote_code",
    "use_fast_tokenizer",
    "cache_dir",
    "model_revision",
    "split_special_tokens",
    "add_tokens",
    "add_special_tokens",
    "new_special_tokens_config",
    "init_special_tokens",
    "resize_vocab",
    "flash_attn",
    # how media become tokens
    "image_max_pixels",
    "image_min_pixels",
    "image_do_pan_and_scan",
    "crop_to_patches",
    "video_max_pixels",
    "video_min_pixels",
    "video_fps",
    "video_maxlen",
    "use_audio_in_video",
    "audio_sampling_rate",
)
# With these the worker asks a hub by itself; else it has all that it needs (engine/model_hub.py).
NEED_A_HUB = {
    "push_to_hub",
    "ref_model",
    "reward_model",
    "adapter_name_or_path",
    "trust_remote_code",  # the code may lie in another repository
}
MEDIA = {"images", "videos", "audios"}
# Beside export_device all of LLaMA-Factory's export settings that are passed on: it would upload or
# quantise before the model is whole.
EXPORT_WRITING: Mapping[str, Any] = {"export_size": 5, "export_legacy_format": False}
# These replace classes of Transformers for as long as the process lives.
PATCH_THE_PROCESS = ("enable_liger_kernel", "use_unsloth")
TEXT_ARGUMENTS = ("default_system", "tool_format")


def environment(spec: RunSpec) -> dict[str, str]:
    """Environment of the worker: no hub requests, no GPU with --use_cpu."""
    found: dict[str, str] = {}
    if not NEED_A_HUB & set(spec.engine_args) and not on_openmind():
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


def launch(spec: RunSpec, plan: Plan) -> dict[str, Any]:
    """Where the processes meet: as asked for now; a port that is free on a single node."""
    port = spec.master_port or (USUAL_PORT if spec.nnodes > 1 else free_port())
    return {**plan.launch, "master_addr": spec.master_addr, "master_port": port}


def needs_torchrun(plan: Plan) -> bool:
    """Several processes, or an engine that wants a process group even for one."""
    processes = int(plan.launch["nproc_per_node"]) * int(plan.launch["nnodes"])
    return processes > 1 or bool(plan.settings.get("deepspeed") or plan.settings.get("fsdp"))


def needs_fresh_worker(plan: Plan) -> bool:
    """Whether training changes the process for good, so that merge and proof need another."""
    return any(plan.settings.get(name) for name in PATCH_THE_PROCESS)


def forks_readers(plan: Plan, look: TokenLook) -> bool:
    """Whether the engine reads media in forked processes, which must come from a fresh worker: the
    threads with which torch has read media there before do not exist in a fork, but are waited for.
    """
    processes = int(plan.settings.get("preprocessing_num_workers") or 1)
    return processes > 1 and bool(look.media)


def token_request(
    spec: RunSpec, model: str, data: CheckedData, folder: Path, *, show: Sequence[str]
) -> dict[str, Any]:
    """What the worker needs for its look at the tokens."""
    return {
        "model": model,
        "name": str(spec.model_name_or_path),
        "model_args": model_arguments(spec),
        "data_args": template_arguments(spec),
        "rows_path": str(data.rows_path),
        "kind": data.kind,
        "template": spec.template,
        "max_seq_length": spec.max_seq_length,
        "lengths_path": str(folder / "lengths.u32"),
        "validation_path": str(data.validation_path) if data.validation_path else None,
        "media": sorted(MEDIA & data.columns),
        "packing": spec.engine_args.get("packing"),
        "show": list(show),
    }


def model_arguments(spec: RunSpec) -> dict[str, Any]:
    """Passed-through arguments that decide how model and tokenizer are loaded."""
    return {name: spec.engine_args[name] for name in MODEL_ARGUMENTS if name in spec.engine_args}


def template_arguments(spec: RunSpec) -> dict[str, Any]:
    """Passed-through arguments that decide how rows are rendered and masked."""
    names = ("enable_thinking", "mask_history", "train_on_prompt", *TEXT_ARGUMENTS)
    return {name: spec.engine_args[name] for name in names if name in spec.engine_args}


def encode_request(plan: Plan, out: Path) -> dict[str, Any]:
    """What the worker needs to encode the rows of a training ahead of it."""
    return {"settings": {**plan.settings, **plan.worker_settings}, "out": str(out)}


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
    """LLaMA-Factory's settings to load the model before the training, or the tuned one.

    Before it, that is the base model with the adapters that the training starts from.
    """
    names = ("model_name_or_path", "template", "enable_thinking", *MODEL_ARGUMENTS, *TEXT_ARGUMENTS)
    settings = {name: plan.settings[name] for name in names if name in plan.settings}
    if makes_adapter(plan):
        adapters = [*merged_before(plan), str(job.folder.path)] if tuned else given_adapters(plan)
        if adapters:
            settings["finetuning_type"] = "lora"  # LLaMA-Factory loads every adapter of PEFT as one
            settings["adapter_name_or_path"] = ",".join(adapters)
    elif tuned:
        settings["finetuning_type"] = plan.settings["finetuning_type"]
        settings["model_name_or_path"] = str(job.folder.path)
    return settings


def unprovable(plan: Plan) -> str:
    """Why the merged model cannot be compared with base + adapter; empty if it can."""
    if makes_adapter(plan):
        return ""
    return f"{plan.settings['finetuning_type']} training leaves a whole model and no adapter"


def given_adapters(plan: Plan) -> list[str]:
    """Adapters that the user named with --adapter_name_or_path."""
    named = plan.settings.get("adapter_name_or_path") or []
    return named.split(",") if isinstance(named, str) else list(named)


def merged_before(plan: Plan) -> list[str]:
    """Adapters that LLaMA-Factory merged into the base before it trained this one.

    All that the user named, but for the last if it is trained further (model/adapter.py).
    """
    adapters = given_adapters(plan)
    return adapters if plan.settings.get("create_new_adapter") else adapters[:-1]


def export_settings(job: Job, plan: Plan) -> dict[str, Any]:
    """LLaMA-Factory's export settings; quantisation must not reach it (it cannot merge then)."""
    settings = inference_settings(job, plan, tuned=True)
    given = job.spec.engine_args
    if "export_device" in given:
        settings["export_device"] = given["export_device"]
    # the stage: only of a reward model is the value head copied
    return {**settings, **export_writing(job.spec), "stage": plan.settings["stage"]}


def export_writing(spec: RunSpec) -> dict[str, Any]:
    """How the merged model is written to files."""
    return {name: spec.engine_args.get(name, usual) for name, usual in EXPORT_WRITING.items()}


def shipped_template(template: TemplateLook) -> str | None:
    """The trained chat template, if it is not the one in the base model's own files."""
    return template.jinja if template.shipped else None


def adapter_template(template: TemplateLook) -> str | None:
    """The chat template beside the adapter, where LLaMA-Factory may have put another: the trained
    one, else the model's own. None: it has none."""
    return shipped_template(template) or template.own


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
