"""Scoring takes memory by tokens, and goes on with fewer rows where that runs out."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest

pytestmark = pytest.mark.engine


def scored(room: int, rows: Sequence[int], **limits: int) -> tuple[list[list[int]], list[str]]:
    """The batches of rows of so many tokens on a device with room for so many at once."""
    import torch

    from fine_tuning.engine.worker.scoring.inputs.batches import in_batches

    said: list[str] = []

    def compute(batch: Sequence[int]) -> int:
        if len(batch) * max(batch) > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return sum(batch)

    limits = {"most_tokens": 10_000, "most_rows": 16, **limits}
    found = list(in_batches(rows, lambda n: n, compute, **limits, said=said.append))
    assert all(total == sum(batch) for batch, total in found)
    return [list(batch) for batch, _ in found], said


def test_long_rows_share_a_batch_with_fewer_others() -> None:
    batches, said = scored(10**9, [100] * 20 + [4000] * 3 + [12_000])
    assert [len(batch) for batch in batches] == [16, 4, 2, 1, 1] and not said
    assert [*chain.from_iterable(batches)] == [100] * 20 + [4000] * 3 + [12_000]


def test_where_memory_runs_out_the_batches_halve_and_that_is_said() -> None:
    batches, said = scored(500, [100] * 20)
    assert [len(batch) for batch in batches] == [4] * 5
    assert said == [
        "memory ran out with 16 rows at once; scoring goes on with 8 rows",
        "memory ran out with 8 rows at once; scoring goes on with 4 rows",
    ]


def test_a_row_that_does_not_fit_alone_is_named() -> None:
    from fine_tuning.engine.worker.scoring.inputs.batches import OutOfMemory

    with pytest.raises(OutOfMemory, match="a row of 900 tokens does not fit"):
        scored(500, [100, 900])


def test_another_failure_is_none_of_memory() -> None:
    from fine_tuning.engine.worker.scoring.inputs.batches import in_batches

    def broken(batch: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        list(in_batches([1], int, broken, most_tokens=9, most_rows=9, said=print))


def test_a_model_without_room_for_a_row_is_trained_unscored(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scoring that ran out of memory ended the whole run."""
    import torch

    from fine_tuning.engine.worker.scoring.asking import NotScored
    from fine_tuning.engine.worker.scoring.score import Scoring, score_model

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"conversations": []}\n', encoding="utf-8")
    network = torch.nn.Linear(1, 1)
    monkeypatch.setattr(network, "forward", full)
    network.device, network.generate = torch.device("cpu"), full

    class Model:
        model, template, stop_ids = network, None, ()
        tokenizer = type("Tokenizer", (), {"pad_token_id": 0})
        prompts = type("Prompts", (), {"pairs": lambda *_: [([1, 2], [3])]})()

    stand_in: Any = Model
    events: Any = type("Events", (), {"note": print, "progress": print})
    with pytest.raises(NotScored, match="--score_samples 0 leaves the scoring out"):
        score_model(stand_in, Scoring(str(rows), 1, "chat"), events, "score_before")
