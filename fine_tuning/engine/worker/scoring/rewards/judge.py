"""A reward model by itself: of a run, with its value head, or any classifier with one label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model
from msgspec import to_builtins
from transformers import AutoConfig, AutoModelForSequenceClassification

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.loading.mended import mended_loading
from fine_tuning.engine.worker.loading.tokenizer import own_tokenizer, whole_tokenizer
from fine_tuning.engine.worker.rows import read_rows
from fine_tuning.engine.worker.scoring.generate import scoring_mode
from fine_tuning.engine.worker.scoring.inputs.batches import OutOfMemory
from fine_tuning.engine.worker.scoring.inputs.prompts import prompts_of
from fine_tuning.engine.worker.scoring.rewards.values import classifier_values, head_values
from fine_tuning.engine.worker.tokens.counting.media import media_of
from fine_tuning.engine.worker.training.adapters.peft import engine_arguments, installed
from fine_tuning.errors import EngineError, ModelError
from fine_tuning.values.tokens import Served

Row = Mapping[str, Any]
Ids = list[int]
AT_ONCE = 256  # rows whose rewards are told together


@dataclass(frozen=True)
class Judge:
    """`ids` makes conversations of rows (of a comparison with its chosen answer), `values` gives
    the reward of each."""

    model: Any
    tokenizer: Any
    ids: Callable[[Sequence[Row]], list[Ids]]
    values: Callable[[Sequence[Ids], Callable[[str], None]], list[float]]

    def rewards(self, ids: Sequence[Ids], said: Callable[[str], None]) -> list[float]:
        """The reward of each conversation. Raises EngineError if memory runs out."""
        with scoring_mode(self.model):
            try:
                return self.values(ids, said)
            except OutOfMemory as error:
                raise EngineError(
                    f"Memory ran out with one conversation at a time ({error}).",
                    fix="use a device with more memory, or shorter conversations",
                ) from error


def judge_of(
    settings: Mapping[str, Any],
    served: Mapping[str, Any] | None = None,
    dtype: "torch.dtype | None" = None,
) -> Judge:
    """The reward model that these settings describe: `classifier` names the directory of one,
    all others are LLaMA-Factory's for a model with a value head, whose rows were encoded ahead as
    `served` says. On a CPU, or where `dtype` asks for it, it is loaded in float32.

    Raises ModelError for a classifier of several labels; without a chat template it makes no ids.
    """
    if "classifier" in settings:
        return classifier_of(str(settings["classifier"]), settings, dtype)
    model_args, data_args, finetuning_args, _ = get_infer_args(engine_arguments(settings))
    tokenizer = whole_tokenizer(model_args)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    with installed(settings), mended_loading(dtype or _usual()):
        model = load_model(tokenizer, model_args, finetuning_args, add_valuehead=True)
    prompts = prompts_of(template, tokenizer, served)
    return Judge(
        model=model,
        tokenizer=tokenizer,
        ids=prompts.conversations,
        values=lambda ids, said: head_values(model, tokenizer, ids, said),
    )


def classifier_of(
    folder: str, settings: Mapping[str, Any], dtype: "torch.dtype | None" = None
) -> Judge:
    """A classifier with one label, which reads what its own chat template writes."""
    trust = bool(settings.get("trust_remote_code"))
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
    named = ", ".join(config.architectures or ["no class"])
    if config.num_labels != 1 or "SequenceClassification" not in named:
        raise ModelError(
            f"{folder} is no reward model: it is a {named} with {config.num_labels} labels.",
            why="a reward is what a sequence classifier with one label gives",
            fix="give the --export_dir of a run of --stage rm, or its folder with --output_dir",
        )
    tokenizer = own_tokenizer(folder, trust_remote_code=trust)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder,
        trust_remote_code=trust,
        dtype=dtype or _usual() or "auto",
        **({"device_map": "auto"} if torch.cuda.is_available() else {}),
    )

    def ids(rows: Sequence[Row]) -> list[Ids]:
        if not tokenizer.chat_template:
            raise ModelError(
                f"{folder} has no chat template.",
                why="without one nobody knows how a conversation is written for it",
                fix="put the chat_template.jinja of its training there",
            )
        own = Served(chat_template=None, stops=(), stop_ids=(), thinking=None, whole=True)
        return prompts_of(None, tokenizer, to_builtins(own)).conversations(rows)

    return Judge(
        model=model,
        tokenizer=tokenizer,
        ids=ids,
        values=lambda ids, said: classifier_values(model, ids, said),
    )


def _usual() -> "torch.dtype | None":
    return None if torch.cuda.is_available() else torch.float32


def judge_rows(
    *,
    events: Events,
    settings: Mapping[str, Any],
    rows_path: str,
    served: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The reward of each row of a file: one, or that of the chosen and that of the rejected answer.

    Raises ModelError for rows with media, and for what is no reward model.
    """
    events.stage("load")
    judge = judge_of(settings, served)
    events.stage("judge", None, "rows")
    rewards: list[list[float]] = []
    waiting: list[Row] = []

    def judged() -> None:
        sides = [judge.rewards(judge.ids(waiting), events.note)]
        if "rejected" in waiting[0]:
            worse = [{**row, "chosen": row["rejected"]} for row in waiting]
            sides.append(judge.rewards(judge.ids(worse), events.note))
        rewards.extend(map(list, zip(*sides, strict=True)))
        waiting.clear()
        events.progress(len(rewards))

    for row in read_rows(Path(rows_path)):
        if any(media_of(row)):
            raise ModelError(
                "Conversations with images, videos or sounds are not scored.",
                fix="leave these rows out",
            )
        waiting.append(row)
        if len(waiting) == AT_ONCE:
            judged()
    if waiting:
        judged()
    return {"rewards": rewards}
