"""How far a stage is, in words: the same facts for the progress bar and for plain lines."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fine_tuning.units import bytes_text, duration_text, loss_text, short_number

STAGES = {
    "read": "reading the data",
    "fetch_data": "downloading the dataset",
    "fetch_model": "downloading the model",
    "engine": "loading LLaMA-Factory and torch",
    "push": "uploading",
    "tokens": "looking at tokens",
    "score_before": "scoring the base model",
    "encode": "encoding the rows",
    "load": "loading the model",
    "balance": "comparing what is streamed with what was prepared",
    "train": "training",
    "save": "saving a checkpoint",
    "score_after": "scoring the tuned model",
    "score_alone": "scoring the model",
    "score_merged": "scoring the merged model",
    "score_quantized": "scoring the quantised model",
    "ask_judge": "asking the judge",
    "tasks_base": "running the tasks with the base model",
    "tasks_tuned": "running the tasks with the tuned model",
    "combine": "combining adapters",
    "merge": "merging",
    "gguf": "writing a GGUF file",
    "gguf_adapter": "writing the adapter as a GGUF file",
    "ladder": "measuring its sizes",
    "quantize": "quantising for GPU servers",
    "ollama": "giving it to Ollama",
    "prove": "proving the merged model",
    "judge": "scoring conversations",
    "row_losses_before": "measuring the loss of every row",
    "row_losses_after": "measuring the loss of every row again",
    "answer": "answering",
    "serve": "serving",
    "contract": "writing down what it answers",
    "replay": "asking the same again",
}


def stage_text(stage: str) -> str:
    """What a stage does, for people."""
    return STAGES.get(stage, stage.replace("_", " "))


@dataclass(frozen=True, slots=True)
class Progress:
    """One stage at one moment. Times are seconds of a monotonic clock.

    `first` is the (time, done) of the first advance: the speed is counted from there, because a
    continued run starts in the middle and the first step waits for the model.
    """

    stage: str
    total: float | None
    unit: str
    began: float
    done: float = 0.0
    seen: float = 0.0
    first: tuple[float, float] | None = None
    facts: Mapping[str, float] = field(default_factory=dict)

    def advanced(
        self, now: float, done: float, total: float | None, facts: Mapping[str, object]
    ) -> "Progress":
        """The stage after one more report; facts that are not given keep their last value."""
        numbers = {
            name: float(value) for name, value in facts.items() if isinstance(value, (int, float))
        }
        # An evaluation is news once; the training loss stays current between two logs.
        kept = {name: value for name, value in self.facts.items() if name != "eval_loss"}
        return replace(
            self,
            done=done,
            total=self.total if total is None else total,
            seen=now,
            first=self.first or (now, done),
            facts={**kept, **numbers},
        )

    @property
    def share(self) -> float | None:
        """How much is done, 0 to 1; None if the total is not known."""
        if not self.total or self.total < 0:
            return None
        return min(1.0, max(0.0, self.done / self.total))

    def seconds_left(self, now: float) -> float | None:
        """At the average speed so far; None as long as there is no speed to count with."""
        if self.total is None or self.first is None:
            return None
        since, start = self.first
        if self.seen <= since or self.done <= start:
            return None
        per_unit = (self.seen - since) / (self.done - start)
        return max(0.0, (self.total - self.done) * per_unit - (now - self.seen))


def describe(progress: Progress, now: float) -> list[tuple[str, str]]:
    """The facts of a stage as (name, text), the most important first."""
    parts = [("count", count_text(progress.done, progress.total, progress.unit))]
    facts = progress.facts
    if "eval_loss" in facts:
        parts.append(("eval_loss", f"eval loss {loss_text(facts['eval_loss'])}"))
    if "reward" in facts:
        parts.append(("reward", f"reward {facts['reward']:.3g}"))
    if "loss" in facts:
        parts.append(("loss", f"loss {loss_text(facts['loss'])}"))
    left = progress.seconds_left(now)
    if left is not None and progress.share != 1.0:
        parts.append(("left", f"{duration_text(left)} left"))
    if "tokens_per_second" in facts:
        parts.append(("speed", f"{short_number(facts['tokens_per_second'])} tokens/s"))
    if "learning_rate" in facts:
        parts.append(("rate", f"lr {facts['learning_rate']:.1e}"))
    if "epoch" in facts:
        parts.append(("epoch", f"epoch {facts['epoch']:.2f}"))
    return parts


READING_ORDER = ("count", "reward", "loss", "eval_loss", "rate", "speed", "epoch", "left")


def fitting(parts: list[tuple[str, str]], width: int) -> str:
    """As many facts as fit in `width` columns, always in the same reading order."""
    kept: list[tuple[str, str]] = []
    for part in parts:
        if sum(len(text) + 2 for _, text in [*kept, part]) - 2 > width and kept:
            break
        kept.append(part)
    kept.sort(key=lambda part: READING_ORDER.index(part[0]))
    return "  ".join(text for _, text in kept)


def count_text(done: float, total: float | None, unit: str) -> str:
    """`120/300 steps`; bytes in the unit that suits the total."""
    if unit == "bytes":
        return bytes_text(done) if total is None else f"{bytes_text(done)} of {bytes_text(total)}"
    text = f"{done:,.0f}" if total is None else f"{done:,.0f}/{total:,.0f}"
    return f"{text} {unit}".rstrip()
