"""Online training through TRL, on LLaMA-Factory's own loading of model and adapter.

LLaMA-Factory has no such stage that runs; our worker loads by its words and hands the model to TRL
(engine/worker/online).
"""

from typing import Any

from msgspec import to_builtins

from fine_tuning.engine.arguments.installed import TRL, engine_arguments
from fine_tuning.engine.plan.groups import grouping
from fine_tuning.engine.requests import served_request
from fine_tuning.engine.trainers import llamafactory, peft
from fine_tuning.engine.trainers.blocks import expected
from fine_tuning.engine.trainers.trainer import TrainSettings
from fine_tuning.errors import UsageError
from fine_tuning.values.plan import Chosen, Places, Rows
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.rewards import read_reward
from fine_tuning.values.tokens import TokenLook

__all__ = ["expected", "settings"]  # a Trainer

NOT_OF_ONLINE = {*llamafactory.OF_EVALUATION, "eval_dataset", "include_num_input_tokens_seen"}
ALONE = "LLaMA-Factory alone has no such stage: this file is a record of what TRL was given"


def settings(
    spec: RunSpec, chosen: Chosen, rows: Rows, look: TokenLook, places: Places
) -> TrainSettings:
    """LLaMA-Factory's settings for model and adapter, and what TRL is given beside them.

    Raises UsageError for an evaluation during the training, and for answers that make no groups.
    """
    given = {**spec.engine_args}
    evaluating = [
        name for name in llamafactory.OF_EVALUATION if given.get(name) not in (None, "no")
    ]
    if evaluating:
        raise UsageError(
            f"--{evaluating[0]} does not go with --stage {rows.stage}: held-out rows are answered "
            "and rewarded before and after the training, not during it.",
            fix="leave it out",
        )
    if given.get("adapter_name_or_path"):
        # TRL compares with the model without its adapter, which must be the one that it starts as
        given["create_new_adapter"] = True
    base = peft if METHODS[chosen.method].trainer == "peft" else llamafactory
    made = base.settings(spec.replace(engine_args=given), chosen, rows, look, places)
    known = engine_arguments()
    of_trl: dict[str, Any] = {}
    by_hand: dict[str, Any] = {}
    for name, value in made.all.items():
        argument = known.get(name)
        if argument is not None and argument.source == TRL:
            of_trl[name] = value
        elif name not in NOT_OF_ONLINE:
            by_hand[name] = value
    grouping(spec, rows, chosen.world).require(chosen.batch, chosen.accumulation)
    by_hand["online"] = {
        "stage": rows.stage,
        "rewards": to_builtins([read_reward(words) for words in spec.reward]),
        "max_completion_length": of_trl["max_completion_length"],
        "trl": of_trl,
    }
    asked = {"served": served_request(look.template), "seconds": spec.reward_timeout}
    return TrainSettings(by_hand=by_hand, of_worker={"asked": asked}, alone=ALONE)
