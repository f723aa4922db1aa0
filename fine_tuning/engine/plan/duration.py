"""How long a training takes on a CPU, about: said before it starts, where it is hours."""

from collections.abc import Mapping
from typing import Any

from fine_tuning.units import counted
from fine_tuning.values.plan import Chosen, Rows
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tokens import TokenLook

# Operations a second of one core in large float32 products, about a third of AVX2's peak. An
# order of magnitude: the time left that is shown during the training is measured.
PER_CORE = 2e10
HOUR = 3600


def cpu_seconds(method: str, parameters: int, tokens: int, epochs: float, cores: int) -> float:
    """Seconds of the products with the weights: 2 operations a parameter and token forwards, as
    many backwards to the inputs, and as many to the weights if these are trained (Kaplan et al.,
    "Scaling Laws for Neural Language Models", 2020, section 2.1)."""
    passes = 2 if METHODS[method].makes_adapter else 3
    return 2 * passes * parameters * tokens * epochs / (cores * PER_CORE)


def duration_warnings(
    chosen: Chosen, rows: Rows, look: TokenLook, devices: Mapping[str, Any]
) -> tuple[str, ...]:
    """That it takes hours, and what would shorten it."""
    if chosen.device_type != "cpu" or look.model is None or "cpus" not in devices:
        return ()
    tokens = max(0, rows.tokens - rows.held_out_tokens)
    epochs = chosen.steps / max(1, chosen.per_epoch)
    if OBJECTIVES[rows.stage].online:  # answers are as many tokens as rows, and are sampled first
        answers = chosen.batch * chosen.accumulation * chosen.world * chosen.per_epoch
        tokens = 2 * tokens * answers // max(1, rows.train)
    cores = int(devices["cpus"])
    seconds = cpu_seconds(chosen.method, look.model.parameters, tokens, epochs, cores)
    if seconds < HOUR:
        return ()
    size, hours = look.model.parameters / 1e9, counted(round(seconds / HOUR), "hour")
    return (
        f"this takes about {hours} on this CPU ({cores} cores, {size:.2g} billion parameters, "
        f"{tokens * epochs:,.0f} tokens), give or take a few times: a GPU, a smaller model, fewer "
        "--epochs or --max_samples shorten it",
    )
