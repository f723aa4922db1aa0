"""Rows encoded ahead of the training, where LLaMA-Factory alone would encode others."""

from collections.abc import Mapping
from typing import Any

from datasets import load_from_disk
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.weights import Marking, honoured

# What concerns the processes of the training; this is one.
OF_THE_TRAINING = ("deepspeed", "fsdp", "fsdp_config", "streaming", "max_steps")


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
    return {"rows": {part: len(dataset) for part, dataset in written.items()}}
