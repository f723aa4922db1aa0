"""LLaMA-Factory as the trainer: the settings that it is given, in its own words."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fine_tuning.engine.defects import REPACKED_4BIT
from fine_tuning.engine.loading import QUANTIZATION_BITS
from fine_tuning.engine.plan.choose import alpha
from fine_tuning.engine.trainers.blocks import expected
from fine_tuning.engine.trainers.trainer import TrainSettings
from fine_tuning.errors import UsageError
from fine_tuning.values.plan import Chosen, Places, Rows
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tokens import ModelFacts, TemplateLook, TokenLook

__all__ = ["expected", "settings"]  # a Trainer

ALONE = "LLaMA-Factory does not pass PEFT's target_parameters on"
# ORPO and SimPO are losses of LLaMA-Factory's dpo stage.
ENGINE_STAGES = {"orpo": "dpo", "simpo": "dpo"}
PREF_BETA = 0.1  # pref_beta, unless it is given (hparams/finetuning_args.py)
OF_EVALUATION = (
    "eval_strategy",
    "eval_steps",
    "eval_delay",
    "eval_on_start",
    "per_device_eval_batch_size",
    "load_best_model_at_end",
    "metric_for_best_model",
    "greater_is_better",
)


def settings(
    spec: RunSpec, chosen: Chosen, rows: Rows, look: TokenLook, places: Places
) -> TrainSettings:
    """The settings of `train.yaml`, and those that only our worker adds."""
    made: dict[str, Any] = {
        **_model_settings(chosen.quantization, places.model, look.template),
        **_method_settings(spec, rows.stage, chosen.method),
        **_reference_settings(spec, rows.stage, chosen.quantization, places.model),
        **_data_settings(spec, rows, chosen.cutoff, places),
        **_training_settings(places.run_dir, chosen, spec),
        **_reading_settings(spec, chosen, rows, look),
        **interval_settings(chosen),
        **{decision.name: decision.value for decision in chosen.decided},
    }
    parameters = target_parameters(spec, look.model)
    if parameters:
        made["peft"] = {"target_parameters": parameters}
    alone = ALONE if parameters else ""
    evaluation, given = _evaluation(spec, _evaluation_settings(rows, chosen, places))
    if rows.packed:  # as text is anyway; one that is asked for has shorter blocks (data_args.py)
        given.pop("packing", None)
    if REPACKED_4BIT.applies(made | given):
        return TrainSettings(by_hand=made | given, of_worker=evaluation, alone=alone)
    return TrainSettings(by_hand=made | evaluation | given, alone=alone)


def target_parameters(spec: RunSpec, model: ModelFacts | None) -> list[str]:
    """What PEFT's `target_parameters` is given, which LLaMA-Factory does not pass on; `experts`
    stands for all routed experts that are three-dimensional parameters.

    Raises UsageError for weights that this model does not have.
    """
    found: list[str] = []
    for name in spec.target_parameters:
        there = [
            weights.name.rsplit("*.", 1)[-1]
            for weights in (model.weights if model else ())
            if not weights.linear
            and (weights.kind == name if name == "experts" else weights.name.endswith(f".{name}"))
        ]
        if model is not None and not there:
            raise UsageError(
                f"--target_parameters {name}: this model has no such weights beside its linear "
                "layers.",
                fix="leave it out: --lora_target all reaches all linear layers",
            )
        found += there or [name]
    return list(dict.fromkeys(found))


def _model_settings(quantization: str, model_path: str, template: TemplateLook) -> dict[str, Any]:
    made: dict[str, Any] = {"model_name_or_path": model_path}
    if template.ahead is not None:
        made["template"] = "empty"  # it changes neither the tokenizer nor its chat template
    elif template.name is not None:
        made["template"] = template.name
    if template.enable_thinking is not True:  # True is the engine's default
        made["enable_thinking"] = template.enable_thinking
    if quantization in QUANTIZATION_BITS:
        made["quantization_bit"] = QUANTIZATION_BITS[quantization]
        made["quantization_method"] = "bnb"
    return made


def _method_settings(spec: RunSpec, stage: str, method: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "stage": ENGINE_STAGES.get(stage, stage),
        "do_train": True,
        "finetuning_type": method,
    }
    if stage in ENGINE_STAGES:
        made["pref_loss"] = stage
    if method == "lora":
        made |= {
            "lora_rank": spec.lora_rank,
            "lora_alpha": alpha(spec),
            "lora_target": "all",
        }
        if spec.engine_args.get("pissa_init"):  # else it fits only the base as PiSSA has changed it
            made["pissa_convert"] = True
    elif method == "oft":
        made["oft_target"] = "all"
        given = spec.engine_args
        if given.get("adapter_name_or_path") and not given.get("create_new_adapter"):
            # so LLaMA-Factory calls training on, whatever the adapter is (hparams/parser.py)
            made["finetuning_type"] = "lora"
    return made


def _reference_settings(
    spec: RunSpec, stage: str, quantization: str, model_path: str
) -> dict[str, Any]:
    """The model that a preference is compared with, where LLaMA-Factory would take another one.

    It switches the adapter off (train/dpo/trainer.py:compute_reference_log_probs), which is the
    model before the training unless that goes on with an adapter.
    """
    adapters = spec.engine_args.get("adapter_name_or_path")
    if not (OBJECTIVES[stage].refers and adapters) or spec.engine_args.get("create_new_adapter"):
        return {}
    made: dict[str, Any] = {"ref_model": model_path, "ref_model_adapters": adapters}
    if quantization in QUANTIZATION_BITS:
        made["ref_model_quantization_bit"] = QUANTIZATION_BITS[quantization]
    return made


def _data_settings(spec: RunSpec, rows: Rows, cutoff: int, places: Places) -> dict[str, Any]:
    """Rows of `cutoff` tokens stay whole: for packed ones LLaMA-Factory takes one token off
    (hparams/data_args.py:__post_init__), which would be the end of the longest; blocks must stay
    multiples of 8 (data/collator.py)."""
    made: dict[str, Any] = {
        "dataset": places.train_name,
        "dataset_dir": str(places.dataset_dir),
        "cutoff_len": cutoff + 8 if spec.engine("neat_packing") else cutoff,
        "overwrite_cache": True,
    }
    return made | ({"tokenized_path": str(places.encoded)} if rows.encoded_ahead else {})


def _training_settings(run_dir: Path, chosen: Chosen, spec: RunSpec) -> dict[str, Any]:
    made: dict[str, Any] = {
        "output_dir": str(run_dir),
        "per_device_train_batch_size": chosen.batch,
        "gradient_accumulation_steps": chosen.accumulation,
        "learning_rate": chosen.rate,
        "num_train_epochs": spec.epochs,
        "lr_scheduler_type": "cosine",
        # the rate begins at 0: a single step would train nothing (transformers/optimization.py)
        "warmup_steps": 0.05 if chosen.steps > 1 else 0,
        "optim": chosen.optimizer,
        "seed": spec.seed,
        "report_to": "none",
    }
    if chosen.precision != "fp32":
        made[chosen.precision] = True
    if chosen.device_type == "cpu":
        made["use_cpu"] = True
        made["dataloader_pin_memory"] = False
        if chosen.world > 1:
            made["ddp_backend"] = "gloo"
    return made


def _reading_settings(spec: RunSpec, chosen: Chosen, rows: Rows, look: TokenLook) -> dict[str, Any]:
    """How batches are counted and read.

    The mask of a packed block has no padding that could be counted. Accelerate would cut streamed
    batches into rows, and tensors of media have other numbers of them. Raises UsageError for rows
    of unequal length that are streamed to several processes: Accelerate joins their batches.
    """
    packed = bool(spec.engine_args.get("neat_packing"))
    made: dict[str, Any] = {"include_num_input_tokens_seen": "all" if packed else "non_padding"}
    if spec.engine_args.get("streaming") and chosen.world > 1 and not (packed or rows.packed):
        raise UsageError(
            "--streaming with several processes takes text or packed rows only, because Accelerate "
            "joins the batches of all processes.",
            fix="leave --streaming out, add --neat_packing true, or take --nproc_per_node 1",
        )
    if spec.engine_args.get("streaming") and look.media:
        made["accelerator_config"] = {"dispatch_batches": False}
    return made


def interval_settings(chosen: Chosen) -> dict[str, Any]:
    """Logs each 10 steps or oftener (50 times at least), saves 10 times or oftener (each epoch and
    each 500 steps at least), and keeps two checkpoints."""
    return {
        "logging_steps": max(1, min(10, chosen.steps // 50)),
        "save_strategy": "steps",
        "save_steps": max(1, min(chosen.per_epoch, math.ceil(chosen.steps / 10), 500)),
        "save_total_limit": 2,
    }


def _evaluation_settings(rows: Rows, chosen: Chosen, places: Places) -> dict[str, Any]:
    """None without held-out rows, nor where held-out text would hardly fill one block."""
    if not rows.validation:
        return {}
    if rows.packed and rows.held_out_tokens < 2 * chosen.cutoff:
        return {}
    return {
        "eval_dataset": places.validation_name,
        "eval_strategy": "steps",
        "eval_steps": max(1, math.ceil(chosen.steps / 10)),
        "per_device_eval_batch_size": chosen.batch,
    }


def _evaluation(
    spec: RunSpec, evaluation: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """How the training evaluates, with what the user says about that; and the user's other words.

    The best checkpoint can only be found if each evaluation has one. Raises UsageError for an
    evaluation that has no rows.
    """
    asked = {name: value for name, value in spec.engine_args.items() if name in OF_EVALUATION}
    others = {name: value for name, value in spec.engine_args.items() if name not in asked}
    best = asked.get("load_best_model_at_end")
    if not evaluation:
        wanted = [name for name in ("eval_strategy", "load_best_model_at_end") if asked.get(name)]
        if wanted and asked.get("eval_strategy") != "no":
            raise UsageError(
                f"--{wanted[0]} needs validation rows, and none are held out.",
                fix="give --val_size or --val_dataset_path, or leave it out",
            )
        return {}, {**others, **asked}
    evaluation = {**evaluation, **asked}
    if best:
        evaluation["save_strategy"] = evaluation["eval_strategy"]
        evaluation["save_steps"] = evaluation["eval_steps"]
    return evaluation, others
