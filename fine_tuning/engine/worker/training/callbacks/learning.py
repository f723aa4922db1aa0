"""Nothing that is trained does nothing: every trained tensor gets a gradient, and what is left at
the end answers otherwise than what was there at the start."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from fine_tuning.engine.worker.events import Events
from fine_tuning.engine.worker.no_trace import random_states_kept
from fine_tuning.engine.worker.training.adapters.peft import as_before
from fine_tuning.engine.worker.training.callbacks.stopping import Stopping
from fine_tuning.errors import EngineError

PROBE = 32  # tokens whose logits are compared
NAMED = 8
# What multiplies these starts at zero, so that their own gradient is zero until that has moved.
AFTER_ANOTHER = re.compile(r"\.lora_A\.\w+\.|\.lora_embedding_A\.|\.vera_lambda_d\.")
# What a batch may pass by: an expert to which no token is sent, a part that sees or hears; and A
# and B of an AdaLoRA layer, which may have given all its ranks up.
PASSED_BY = re.compile(
    r"\.experts\.\d+\.|visual|vision|audio|image|speech|multi_modal_projector|\.lora_[AB]\.\w+$"
)
# A reward model's loss is a difference of two scores, in which a constant cancels, and reads no
# logits.
OF_REWARDS = re.compile(r"v_head\.summary\.bias$|lm_head\.weight$")


class Learning(TrainerCallback):  # type: ignore[misc]  # transformers is not checked
    """Raises EngineError if a tensor that is trained gets no gradient, or if the training changed
    no answer.

    A tensor must have had one when the first step is done; one whose partner starts at zero
    (LoRA's A beside its B) once that partner has moved. `settings` are those of the training.
    """

    def __init__(self, events: Events, settings: Mapping[str, Any], stopping: Stopping) -> None:
        self.events = events
        self.stopping = stopping
        self.all_wait = bool(settings.get("use_llama_pro"))  # new blocks begin as doing nothing
        unseen = any(settings.get(name) for name in UNSEEN)
        self.watches = not unseen and settings.get("optim") not in FUSED
        self.is_reward = settings.get("stage") == "rm"
        self.is_online = "online" in settings
        self.unmoved: list[tuple[str, Any]] = []
        self.count = 0
        self.silent = False  # this step
        self.moved = 0  # steps with a learning rate above 0
        self.probe: Any = None
        self.before: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if self.watches:
            trained = [(n, it) for n, it in known["model"].named_parameters() if it.requires_grad]
            self.count = len(trained)
            self.unmoved = [
                it for it in trained if not (self.is_reward and OF_REWARDS.search(it[0]))
            ]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See the first batch before it is trained: a callback sees none."""
        step = Trainer.training_step

        def watched_step(trainer: Any, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
            if self.watches and self.probe is None and trainer.state.global_step == 0:
                probe = trainer.probe_of(inputs) if self.is_online else probe_of(inputs)
                self.probe = probe[:, -PROBE:].to(trainer.args.device)
                self.before = self.answers(trainer.model, is_start=True)
            return step(trainer, model, inputs, *more, **named)

        Trainer.training_step = watched_step
        try:
            yield
        finally:
            Trainer.training_step = step

    def answers(self, model: Any, *, is_start: bool = False) -> Any:
        """What the model says to the probe: logits, or the scores of a reward model."""
        training = model.training
        model.eval()
        start = as_before(model) if is_start else nullcontext()
        with torch.no_grad(), random_states_kept(), start:
            found = model(input_ids=self.probe, attention_mask=torch.ones_like(self.probe))
        model.train(training)
        answers = found[2] if isinstance(found, tuple) else found.logits
        return answers[..., -PROBE:, :].float().cpu() if answers.ndim > 2 else answers.float().cpu()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self.silent = self.is_online and is_silent(known["model"])
        if not self.unmoved or self.silent:
            return
        self.unmoved = without_gradient(self.unmoved)
        promised = [name for name, _ in self.unmoved if self.is_due(name)]
        if promised:
            raise EngineError(
                f"{len(promised)} of {self.count} tensors that are to be trained get no gradient: "
                f"{listed(promised)}.",
                why=f"after {state.global_step + 1} steps nothing that the loss is computed from "
                "has passed through them, so training them does nothing",
                fix="leave their modules out of --lora_target, --additional_target or "
                "--freeze_extra_modules, whichever names them",
            )

    def is_due(self, name: str) -> bool:
        """Whether the tensor must have had a gradient by now."""
        if PASSED_BY.search(name):
            return False
        waits = self.all_wait or AFTER_ANOTHER.search(name)
        return self.moved > 1 if waits else True

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        optimizer = known.get("optimizer")
        rates = [group["lr"] for group in optimizer.param_groups] if optimizer else [1.0]
        self.moved += not self.silent and any(rate > 0 for rate in rates)

    def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if self.before is None or self.stopping.asked:
            return
        if not torch.equal(self.before, self.answers(known["model"])):
            return
        if not self.moved:
            self.events.note(f"the training changed nothing: {NOTHING[self.is_online]}")
            return
        if args.bf16 or args.fp16 or self.before_is_half(known["model"]):
            self.events.note(
                "the trained model answers as before, to the last bit of 16: more steps or a "
                "higher --learning_rate would show"
            )
            return
        names = [name for name, it in known["model"].named_parameters() if it.requires_grad]
        raise EngineError(
            "The trained model answers exactly as it did before the training.",
            why=f"nothing that was trained reaches its answers: {listed(names)}",
            fix="train other modules, or give a higher --learning_rate if you have set it",
        )

    @staticmethod
    def before_is_half(model: Any) -> bool:
        """Whether the model computes in 16 bits."""
        return next(iter(model.parameters())).dtype in (torch.float16, torch.bfloat16)


# Why no step moved anything; in an online training answers of one reward give no gradient.
NOTHING = {
    False: "all its steps are warm-up, with a learning rate of 0",
    True: "in no step did the answers to a prompt get different rewards",
}
# Ways to train in which a gradient is gone, or spread, when its step is done.
UNSEEN = ("deepspeed", "fsdp", "use_badam", "galore_layerwise", "apollo_layerwise", "use_mca")
FUSED = ("lomo", "adalomo")  # optimizers that step inside the backward pass


def without_gradient(tensors: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Those whose gradient is missing or zero; one look at the device for all."""
    given = [it for it in tensors if it[1].grad is not None]
    missing = [it for it in tensors if it[1].grad is None]
    if not given:
        return missing
    device = given[0][1].device
    largest = torch.stack([it.grad.abs().amax().float().to(device) for _, it in given])
    return missing + [it for it, most in zip(given, largest.tolist(), strict=True) if most == 0]


def is_silent(model: Any) -> bool:
    """Whether a step gave no tensor a gradient."""
    gradients = [it.grad for it in model.parameters() if it.requires_grad and it.grad is not None]
    return not any(bool(it.any()) for it in gradients)


def probe_of(inputs: Mapping[str, Any]) -> "torch.Tensor":
    """The end of the first row of a batch, without padding: there are no media in an answer."""
    ids, mask = inputs["input_ids"][0], inputs["attention_mask"][0]
    if mask.ndim > 1:  # of packed rows: each token sees itself (data/collator.py:93)
        return ids[mask[0].diagonal() == 0][-PROBE:][None]
    return ids[mask != 0][-PROBE:][None]


def listed(names: list[str]) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
