"""Rewards of the answers to held-out rows."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from statistics import fmean
from typing import Any

import msgspec

from fine_tuning.engine.worker.online.asking import question
from fine_tuning.engine.worker.online.judging import How, Judge, judge_of
from fine_tuning.engine.worker.scoring.generate import answer_prompts
from fine_tuning.engine.worker.scoring.inputs.batches import Said
from fine_tuning.engine.worker.scoring.inputs.prompts import question_of
from fine_tuning.engine.worker.scoring.inputs.with_media import MediaModel
from fine_tuning.engine.worker.scoring.rewards import judge
from fine_tuning.engine.worker.tokens.views import decoded
from fine_tuning.errors import RowsError
from fine_tuning.values.tables.rewards import ONE, Reward


@lru_cache(maxsize=1)
def judge_for(settings: bytes) -> Judge:
    """The judge of a training: before it, in it and after it the same."""
    known = msgspec.json.decode(settings)
    models = {
        name: judge.judge_of(it["settings"], it["served"]) for name, it in known["models"].items()
    }
    rewards = msgspec.convert(known["rewards"], tuple[Reward, ...])
    return judge_of(rewards, How(seconds=float(known["seconds"]), models=models))


def rewards_of(settings: Mapping[str, Any]) -> Judge:
    """The judge that these settings describe."""
    known = {name: settings[name] for name in ("rewards", "seconds")}
    known["models"] = settings.get("models") or {}
    return judge_for(msgspec.json.encode(known))


def score_rewards(
    model: MediaModel,
    rows: Sequence[Mapping[str, Any]],
    online: Mapping[str, Any],
    progress: Callable[[int, int], None],
    said: Said,
) -> dict[str, Any]:
    """Metrics and, per row, the answer with its reward.

    Answers are greedy. Raises RowsError where a reward fails.
    """
    judging, prompts = rewards_of(online), model.prompts
    asked = [question(row, pair) for row, pair in zip(rows, prompts.pairs(rows), strict=True)]
    given = answer_prompts(
        model.model,
        model.tokenizer,
        prompts.stop_ids,
        [list(it.prompt_ids) for it in asked],
        progress,
        said,
        int(online["max_completion_length"]),
    )
    answers = [
        it.answered(row, found.text, found.ids)
        for row, (it, found) in enumerate(zip(asked, given, strict=True))
    ]
    try:
        each, total = judging.each(answers), judging.total(answers)
    except RowsError as error:
        # these are not training rows, so their numbers would name others
        raise RowsError(f"{error.what}\n  to a held-out row", fix=error.fix) from None
    metrics: dict[str, Any] = {"n": len(rows), "reward": fmean(total) if total else math.nan}
    if len(each) > 1:
        named = zip(judging.rewards, each, strict=True)
        metrics |= {f"{ONE}{reward.name}": fmean(column) for reward, column in named if column}
    samples = [
        {
            "prompt": decoded(model.tokenizer, list(it.prompt_ids)),
            "question": question_of(row),
            "expected": it.expected.strip(),
            "answer": found.text.strip(),
            "tokens": found.tokens,
            "stopped": found.stopped,
            "reward": reward,
        }
        for row, it, found, reward in zip(rows, asked, given, total, strict=True)
    ]
    return {"metrics": metrics, "losses": [], "samples": samples}
