"""What helps a training that ran out of memory: only what it has not set already."""

from fine_tuning.engine.plan.memory.fitting import SHARDED, ways_down
from fine_tuning.engine.plan.memory.weights import Step
from fine_tuning.errors import EngineError, OutOfMemory
from fine_tuning.values.plan import Chosen
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tokens import ModelFacts

OTHERS = "end what else uses the GPU (nvidia-smi lists it)"


def advised(
    error: OutOfMemory, spec: RunSpec, chosen: Chosen, stage: str, model: ModelFacts | None
) -> EngineError:
    """The same error, with the flags that would help this training, the least change first."""
    ways = changes(spec, chosen, stage, model)
    flags = ", then ".join(ways)
    fix = f"add {flags}; the next one if that is not enough" if len(ways) > 1 else f"add {flags}"
    if not ways:
        fix = SHARDED if chosen.device_type == "cuda" else "take a smaller model"
    if chosen.device_type == "cuda":
        fix = f"{OTHERS}; else {fix}"
    return EngineError(error.what, why=error.why, fix=f"{fix}{error.after_fix}")


def changes(spec: RunSpec, chosen: Chosen, stage: str, model: ModelFacts | None) -> tuple[str, ...]:
    """Of each flag the next step that takes less memory; none that is set so already."""
    step = Step(
        method=chosen.method,
        stage=stage,
        quantization=chosen.quantization,
        rank=spec.lora_rank,
        batch=chosen.batch,
        length=chosen.cutoff,
        half=chosen.precision != "fp32",
        # a prefix cannot have it (engine/trainers/peft.py), so nobody is told to switch it on
        checkpointing=chosen.method == "prefix_tuning"
        or not spec.engine_args.get("disable_gradient_checkpointing"),
        optimizer=chosen.optimizer,
        given=spec.engine_args,
    )
    found: dict[str, str] = {}
    for text, _ in ways_down(model, step):
        found.setdefault(text.split()[0], text)
    return tuple(found.values())
