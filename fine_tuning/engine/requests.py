"""What the worker is asked besides training: plain values, LLaMA-Factory's names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from fine_tuning.engine.loading import MODEL_ARGUMENTS, TEXT_ARGUMENTS
from fine_tuning.values.data import CheckedData
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tokens import TemplateLook, TokenLook

MEDIA = {"images", "videos", "audios"}
# These replace classes of Transformers for as long as the process lives.
PATCH_THE_PROCESS = ("enable_liger_kernel", "use_unsloth")


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
        "whole": spec.stage is not None and not OBJECTIVES[spec.stage].answers,
        "streaming": bool(spec.engine_args.get("streaming")),
        "show": list(show),
        "processes": spec.engine_args.get("preprocessing_num_workers"),
    }


def model_arguments(spec: RunSpec) -> dict[str, Any]:
    """Passed-through arguments that decide how model and tokenizer are loaded."""
    return {name: spec.engine_args[name] for name in MODEL_ARGUMENTS if name in spec.engine_args}


def template_arguments(spec: RunSpec) -> dict[str, Any]:
    """Passed-through arguments that decide how rows are rendered and masked."""
    names = ("enable_thinking", "mask_history", "train_on_prompt", *TEXT_ARGUMENTS)
    return {name: spec.engine_args[name] for name in names if name in spec.engine_args}


def patches_the_process(made: Mapping[str, Any]) -> bool:
    """Whether training changes the process for good, so that merge and proof need another."""
    return any(made.get(name) for name in PATCH_THE_PROCESS)


def forks_readers(made: Mapping[str, Any], look: TokenLook) -> bool:
    """Whether the engine reads media in forked processes, which must come from a fresh worker: the
    threads with which torch has read media there before do not exist in a fork, but are waited for.
    """
    processes = int(made.get("preprocessing_num_workers") or 1)
    return processes > 1 and bool(look.media)


def served_request(template: TemplateLook) -> Mapping[str, Any] | None:
    """How rows are encoded ahead, as the worker is told; None if the engine encodes them."""
    return None if template.ahead is None else dict(to_builtins(template.ahead))


def shipped_template(template: TemplateLook) -> str | None:
    """The trained chat template, if it is not the one in the base model's own files."""
    return template.jinja if template.shipped else None


def adapter_template(template: TemplateLook) -> str | None:
    """The chat template beside the adapter, where LLaMA-Factory may have put another: the trained
    one, else the model's own. None: it has none."""
    return template.goes_out
