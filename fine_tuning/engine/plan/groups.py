"""How many answers an online training samples at a time, in groups that share a prompt."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fine_tuning.errors import UsageError
from fine_tuning.units import counted
from fine_tuning.values.plan import Decision, Rows
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.objectives import OBJECTIVES, Online
from fine_tuning.values.tokens import TokenLook

PROMPTS = 8  # per update
LEAST_UPDATES = 40  # an epoch, as for other trainings (choose.py)
ANSWER = 256  # tokens, TRL's default too


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """`group` answers to each of `prompts` prompts make an update of `world` processes."""

    group: int
    prompts: int
    world: int
    rows: int
    per_generation: int | None = None  # micro steps that share the answers of one sampling
    iterations: int = 1  # times that answers are learned from

    @property
    def answers(self) -> int:
        """Per update, of all processes."""
        return self.prompts * self.group

    def accumulation(self, batch: int) -> int:
        """Micro steps of `batch` answers and process that make an update of whole groups."""
        whole = math.lcm(batch * self.world, self.group) // (batch * self.world)
        return whole * max(1, round(self.answers / (batch * self.world * whole)))

    def sampled(self, batch: int, accumulation: int) -> int:
        """Answers that are sampled at once."""
        return batch * self.world * (self.per_generation or accumulation)

    def updates(self, batch: int, accumulation: int) -> int:
        """Updates an epoch: prompts at its end that do not fill a sampling are left out, others in
        each epoch (trl/trainer/utils.py:RepeatSampler)."""
        samplings = self.rows * self.group // self.sampled(batch, accumulation)
        steps = samplings * (self.per_generation or accumulation) * self.iterations
        return math.ceil(steps / accumulation)

    def require(self, batch: int, accumulation: int) -> None:
        """Raise UsageError where the answers of a sampling make no whole groups, or where there are
        fewer rows than it needs."""
        sampled = self.sampled(batch, accumulation)
        if sampled % self.group:
            raise UsageError(
                f"{sampled} answers are sampled at once (--batch_size {batch}, "
                f"--gradient_accumulation_steps {accumulation}), which are no whole groups of "
                f"{self.group} (--num_generations).",
                fix="leave --gradient_accumulation_steps out, or choose numbers that fit",
            )
        if sampled // self.group > self.rows:
            raise UsageError(
                f"{counted(self.rows, 'row')} to train on are fewer than the "
                f"{sampled // self.group} prompts of one sampling.",
                fix="give a smaller --batch_size or --gradient_accumulation_steps, or more rows",
            )


def grouping(spec: RunSpec, rows: Rows, world: int) -> Grouping:
    """The groups of this training: as asked for, else by the objective and the number of rows."""
    given, online = spec.engine_args, online_of(rows.stage)
    group = int(given.get("num_generations", online.group))
    per_generation = given.get("steps_per_generation")
    if given.get("generation_batch_size") and spec.batch_size:
        per_generation = int(given["generation_batch_size"]) // (spec.batch_size * world)
    return Grouping(
        group=group,
        prompts=max(1, min(PROMPTS, rows.train // LEAST_UPDATES)),
        world=world,
        rows=rows.train,
        per_generation=int(per_generation) if per_generation else None,
        iterations=int(given.get("num_iterations", 1)),
    )


def online_of(stage: str) -> Online:
    """What is usual for this stage, which is one that samples answers."""
    online = OBJECTIVES[stage].online
    assert online is not None
    return online


def answer_length(spec: RunSpec, look: TokenLook) -> int:
    """Tokens that an answer may have: as asked for, else as many as the model's context allows."""
    given = spec.engine_args
    asked = given.get("max_completion_length") or given.get("max_new_tokens")
    if asked:
        return int(asked)
    room = ANSWER if look.context is None else max(16, look.context - look.cutoff)
    return min(ANSWER, room)


def sampling(spec: RunSpec, rows: Rows, look: TokenLook) -> Iterator[Decision]:
    """What TRL is given if nothing else is asked for."""
    given, online = spec.engine_args, online_of(rows.stage)
    usual = f"usual for {rows.stage}"
    length = answer_length(spec, look)
    wanted = (
        ("num_generations", online.group, f"{usual}: answers to a prompt"),
        ("max_completion_length", length, "tokens that an answer may have"),
        ("beta", online.beta, f"{usual}: weight of the distance (KL) from the model as it was"),
        ("temperature", 1.0, "answers as the model would give them"),
    )
    for name, value, why in wanted:
        if name not in given:
            yield Decision(name, value, why)
    if "disable_dropout" not in given and "lora_dropout" not in given:
        yield Decision("disable_dropout", True, "else the model differs from itself at the start")
