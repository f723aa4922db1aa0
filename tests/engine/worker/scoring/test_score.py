"""What is kept of every held-out row."""

import json
from pathlib import Path

import pytest

from tests.trainings import planned, train_here

pytestmark = pytest.mark.engine


def test_the_loss_of_every_row_is_kept_in_the_order_of_the_rows(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Without them nobody can tell whether a difference of two means is chance."""
    from transformers import AutoTokenizer

    trained = train_here(tmp_path, planned(tmp_path, tiny_model))
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for name in ("before", "after"):
        losses, metrics = scores[name]["losses"], trained[name]
        assert metrics["loss"] == pytest.approx(
            sum(loss for loss, _ in losses) / sum(tokens for _, tokens in losses)
        )
        for (_, tokens), sample in zip(losses, scores[name]["samples"], strict=True):
            answer = tokenizer.encode(sample["expected"], add_special_tokens=False)
            assert 0 <= tokens - len(answer) <= 2, "the answer and its end"
