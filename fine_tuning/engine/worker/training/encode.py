"""Rows encoded ahead of the training, where LLaMA-Factory alone would encode others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from datasets import load_from_disk
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.training.weights import Marking, honoured

# What concerns the processes of the training; this is one.
OF_THE_TRAINING = (
    "deepspeed",
    "fsdp",
    "fsdp_config",
    "ddp_backend",
    "accelerator_config",
    "parallelism_config",
    "streaming",
    "max_steps",
)


def encode(*, events: Events, settings: Mapping[str, Any], out: str) -> dict[str, Any]:
    """Encode the datasets of `train.yaml` into the directory `out`, answers with weight 0 masked.

    The training then finds them there (`tokenized_path`), by hand as well.
    """
    arguments = {name: value for name, value in settings.items() if name not in OF_THE_TRAINING}
    model_args, data_args, training_args, finetuning_args, _ = get_train_args(
        {**arguments, "tokenized_path": out, "overwrite_output_dir": True}
    )
    known = load_tokenizer(model_args)
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
        "untrained": {part: without_labels(dataset) for part, dataset in written.items()},
    }


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
