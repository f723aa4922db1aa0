"""The training itself: TRL's trainer, on the model that LLaMA-Factory loads, with prompts as a
server sends them."""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_model, load_tokenizer
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.models import unwrap_model_for_generation

from fine_tuning.disk import hashes
from fine_tuning.engine.worker.loading.precision import in_one_precision
from fine_tuning.engine.worker.no_trace import RandomStates
from fine_tuning.engine.worker.online.alarms import repeated
from fine_tuning.engine.worker.online.asking import Question, questions_of
from fine_tuning.engine.worker.online.judging import Judge
from fine_tuning.engine.worker.online.reading import require_same_reading
from fine_tuning.engine.worker.scoring.greedy import padded_left, up_to_end
from fine_tuning.engine.worker.scoring.inputs.prompts import prompts_of
from fine_tuning.errors import RowsError, UsageError


class _OwnPrompts:
    """Before one of TRL's trainers: a prompt is the number of a row, whose ids are those that a
    server would send, and an answer ends at any of the tokens at which a server ends it.

    TRL renders and tokenizes text by itself, cuts it to `max_prompt_length` on the left, and knows
    one end.
    """

    beside: tuple[Any, ...] = ()  # what TRL wants beside the ids of prompts and answers

    def asks(self, questions: Sequence[Question], stop_ids: Sequence[int]) -> None:
        """Ask these questions, by the numbers of their rows."""
        self.questions, self.stop_ids = questions, stop_ids
        self.eos_token_id = stop_ids[0]  # TRL takes an answer without it for one that is cut off
        self.generation_config.eos_token_id = list(stop_ids)  # type: ignore[attr-defined]  # theirs

    def _generate_single_turn(self, prompts: Sequence[int], images: Any) -> tuple[Any, ...]:
        asked = [list(self.questions[row].prompt_ids) for row in prompts]
        answers = self.sampled(asked)
        trainer: Any = self
        stops = set(self.stop_ids)
        measured = {
            "cut_off": sum(it[-1] not in stops for it in answers) / len(answers),
            "answer_tokens": sum(map(len, answers)) / len(answers),
            "repeated": repeated(answers),
        }
        for name, value in measured.items():
            mean = trainer.accelerator.gather(
                torch.tensor(value, device=trainer.accelerator.device)
            )
            trainer._metrics["train"][name].append(float(mean.mean()))
        return (asked, answers, *self.beside)

    def sampled(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """Sampled answers to prompts, all at once, by the key-value cache."""
        trainer: Any = self
        ids, mask = padded_left(prompts, trainer.pad_token_id)
        device = trainer.accelerator.device
        with (
            unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model,
            torch.no_grad(),
            in_one_precision(model),
        ):
            found = model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                generation_config=trainer.generation_config,
                disable_compile=True,
            )
        return [up_to_end(self.stop_ids, it) for it in found[:, ids.shape[1] :].tolist()]

    def probe_of(self, inputs: Sequence[Mapping[str, int]]) -> torch.Tensor:
        """The prompt of the first row of a batch, shape (1, tokens)."""
        return torch.tensor([list(self.questions[inputs[0]["prompt"]].prompt_ids)])

    def create_model_card(self, *known: Any, **named: Any) -> None:
        """None: a run has its own."""


class _Grpo(_OwnPrompts, GRPOTrainer):  # type: ignore[misc]  # trl is not checked
    beside = (None, {})


class _Rloo(_OwnPrompts, RLOOTrainer):  # type: ignore[misc]  # trl is not checked
    beside = ({},)


TRAINERS: Mapping[str, tuple[Any, Any]] = {
    "grpo": (_Grpo, GRPOConfig),
    "rloo": (_Rloo, RLOOConfig),
}


def run_online(
    settings: Mapping[str, Any],
    arguments: Mapping[str, Any],
    judge: Judge,
    callbacks: Sequence[TrainerCallback],
) -> None:
    """Train with these settings; `arguments` are LLaMA-Factory's part of them.

    Raises RowsError where a reward fails, with a checkpoint of the last step that was whole.
    """
    model_args, data_args, _, finetuning_args, _ = get_train_args(dict(arguments))
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    prompts = prompts_of(template, tokenizer, settings["asked"]["served"])
    questions = questions_of(settings, prompts)
    require_same_reading(judge, str(settings["model_name_or_path"]), tokenizer, prompts, questions)
    made, configured = TRAINERS[settings["online"]["stage"]]
    config = configured(**config_of(configured, settings))
    model = load_model(tokenizer, model_args, finetuning_args, is_trainable=True)
    beta, whole = config.beta, not hasattr(model, "disable_adapter")
    if whole:
        config.beta = 0.0  # TRL would load the reference anew, in another precision
    model.warnings_issued = {}
    reference = copy.deepcopy(model) if whole and beta else None
    start = StepStart()
    trainer = made(
        model=model,
        args=config,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"prompt": list(range(len(questions)))}),
        reward_funcs=reward_functions(judge, questions),
        callbacks=[*callbacks, start],
    )
    trainer.asks(questions, list(prompts.stop_ids))
    if reference is not None:
        trainer.beta = config.beta = beta
        trainer.ref_model = trainer.accelerator.prepare_model(
            reference.requires_grad_(False).eval(), evaluation_mode=True
        )
    try:
        trainer.train(resume_from_checkpoint=arguments.get("resume_from_checkpoint"))
    except RowsError:
        save_before(trainer, start)
        raise
    trainer.save_model()
    trainer.save_state()


def config_of(configured: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that TRL's configuration knows, and TRL's own names among them.

    Raises UsageError for a name that only another of its trainers has.
    """
    known = {field.name for field in dataclasses.fields(configured) if field.init}
    of_trl, stage = settings["online"]["trl"], settings["online"]["stage"]
    others = [name for name in of_trl if name not in known]
    if others:
        raise UsageError(f"--{others[0]} does not go with --stage {stage}.", fix="leave it out")
    given = {name: value for name, value in settings.items() if name in known}
    return {
        **given,
        "bf16": bool(given.get("bf16")),
        "gradient_checkpointing": False,  # LLaMA-Factory has put it on, if it is wanted
        "include_num_input_tokens_seen": "no",  # TRL counts them itself
        "remove_unused_columns": False,
        "max_prompt_length": None,
        **of_trl,
    }


def reward_functions(judge: Judge, questions: Sequence[Question]) -> list[Callable[..., Any]]:
    """The rewards as TRL calls them."""

    def function(scorer: Any, name: str) -> Callable[..., Any]:
        def reward(
            prompts: Sequence[int],
            completions: Sequence[str],
            completion_ids: Sequence[Sequence[int]],
            **known: Any,
        ) -> list[float]:
            answers = zip(prompts, completions, completion_ids, strict=True)
            return list(
                scorer([questions[row].answered(row, text, ids) for row, text, ids in answers])
            )

        reward.__name__ = name
        return reward

    pairs = zip(judge.scorers, judge.rewards, strict=True)
    return [function(scorer, reward.name) for scorer, reward in pairs]


class StepStart(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Keeps the random numbers with which a step begins."""

    def __init__(self) -> None:
        self.states: RandomStates | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self.states = RandomStates.now()


def save_before(trainer: Any, start: StepStart) -> None:
    """Save a checkpoint of the last step that was whole: the one that failed is done again.

    Not of several processes, of which one alone has failed.
    """
    step = trainer.state.global_step
    folder = Path(trainer.args.output_dir) / f"checkpoint-{step}"
    if not step or folder.exists() or trainer.accelerator.num_processes > 1:
        return
    if start.states is not None:
        start.states.set()
    trainer._save_checkpoint(trainer.model, trial=None)
    hashes.write(folder)
