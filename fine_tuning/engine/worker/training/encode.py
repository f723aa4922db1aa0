"""Rows encoded ahead of the training, where LLaMA-Factory alone would encode others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from datasets import load_from_disk
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.served.write import KINDS, served_encoder, write_encoded
from fine_tuning.engine.worker.training.adapters.peft import engine_arguments
from fine_tuning.engine.worker.training.weights import Marking, honoured
from fine_tuning.values.tokens import Served

# What concerns the processes and devices of the training. This is one process, and on the CPU:
# LLaMA-Factory refuses one that sees several GPUs (hparams/parser.py).
OF_THE_TRAINING = (
    "bf16",
    "fp16",
    "tf32",
    "pure_bf16",
    "optim",
    "deepspeed",
    "fsdp",
    "fsdp_config",
    "ddp_backend",
    "accelerator_config",
    "parallelism_config",
    "streaming",
    "max_steps",
)


def encode(
    *,
    events: Events,
    settings: Mapping[str, Any],
    out: str,
    served: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
    kept: str | None = None,
) -> dict[str, Any]:
    """Encode the rows of `train.yaml` into the directory `out`, answers with weight 0 masked.

    The training then finds them there (`tokenized_path`), by hand as well. With `served` the
    rows in `files` are encoded by the chat template that a server uses, if the look at the tokens
    has not `kept` what that makes of them; without it by LLaMA-Factory's template.
    """
    known = engine_arguments(settings)
    arguments = {name: value for name, value in known.items() if name not in OF_THE_TRAINING}
    model_args, data_args, training_args, finetuning_args, _ = get_train_args(
        {**arguments, "use_cpu": True, "tokenized_path": out, "overwrite_output_dir": True}
    )
    known = load_tokenizer(model_args)
    if served is not None:
        encoder = served_encoder(
            known["tokenizer"], msgspec.convert(served, Served), KINDS[finetuning_args.stage]
        )
        sets = {part: Path(path) for part, path in (files or {}).items()}
        folder = Path(kept) if kept else None
        counts = write_encoded(encoder, sets, data_args, Path(out), events, folder)
        return {**counts, "untrained": _untrained(out, finetuning_args.stage)}
    template = get_template_and_fix_tokenizer(known["tokenizer"], data_args)
    with honoured():
        get_dataset(
            Marking(template),
            model_args,
            data_args,
            training_args,
            stage=finetuning_args.stage,
            **known,
        )
    written = load_from_disk(out)
    return {
        "rows": {part: len(dataset) for part, dataset in written.items()},
        "untrained": _untrained(out, finetuning_args.stage),
    }


def _untrained(out: str, stage: str) -> dict[str, int]:
    """Of each part; of a comparison an answer is always trained."""
    parts = load_from_disk(out).items()
    return {part: without_labels(one) if stage == "sft" else 0 for part, one in parts}


def without_labels(dataset: Any) -> int:
    """Rows, or blocks, in which nothing is trained: a cut may leave only answers of weight 0."""
    count = 0
    for batch in dataset.select_columns(["labels"]).with_format("arrow").iter(1000):
        labels = batch["labels"].combine_chunks()
        trained = np.flatnonzero(labels.flatten().to_numpy() != IGNORE_INDEX)
        begins = labels.offsets.to_numpy() - labels.offsets[0].as_py()
        rows = np.searchsorted(begins, trained, side="right") - 1
        count += len(labels) - len(np.unique(rows))
    return count
