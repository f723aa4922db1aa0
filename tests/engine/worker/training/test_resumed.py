"""A training that goes on from a checkpoint is the one that would have been, and what it leaves is
what was trained: a new process that loads it answers alike."""

from pathlib import Path
from typing import Any

import pytest

from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES
from tests.models import build_mixture, build_model
from tests.trainings import Heard, Planned, largest_difference, planned, train_here, weights_of

pytestmark = [pytest.mark.engine, pytest.mark.slow]

OWN: dict[str, dict[str, Any]] = {
    "oft": {"oft_block_size": 8, "oft_rank": 0},
    "freeze": {"freeze_trainable_layers": 1},
}
# Stage, method, the engine's arguments, wishes of ours.
CASES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    *[("sft", method, OWN.get(method, {}), {}) for method in METHODS],
    *[(stage, "lora", {}, {}) for stage in ("pt", "dpo", "kto", "orpo", "simpo")],
    ("dpo", "full", {}, {}),
    *[("sft", "lora", {}, {"quantization": bits}) for bits in ("4bit", "8bit")],
    ("sft", "lora", {"use_dora": True, "use_rslora": True}, {}),
    ("sft", "lora", {"loraplus_lr_ratio": 16.0}, {}),
    ("sft", "lora", {"additional_target": "embed_tokens,lm_head"}, {}),
    ("sft", "lora", {"add_tokens": "<a>,<b>"}, {}),
    ("sft", "lora", {"lora_dropout": 0.1}, {}),
    ("sft", "lora", {"neftune_noise_alpha": 5.0}, {}),
    ("sft", "lora", {"optim": "adafactor"}, {}),
    ("sft", "lora", {"packing": True, "neat_packing": True}, {}),
    ("sft", "lora", {}, {"target_parameters": ("experts",)}),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One with biases and a head of its own, one with routed experts."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "usual": build_model(folder / "usual", biases=True, tied=False),
        "experts": build_mixture(folder / "experts"),
    }


@pytest.mark.parametrize(
    ("stage", "method", "given", "wishes"),
    CASES,
    ids=["-".join([*case[:2], *case[2], *case[3]]) for case in CASES],
)
def test_what_goes_on_is_what_would_have_been_and_what_is_loaded(
    stage: str,
    method: str,
    given: dict[str, Any],
    wishes: dict[str, Any],
    models: dict[str, Path],
    tmp_path: Path,
) -> None:
    """PiSSA was converted by the state of the checkpoint, and saved as another model."""
    model = models["experts" if wishes.get("target_parameters") else "usual"]
    steps = {"max_steps": 4, "save_steps": 2}
    plan = planned(tmp_path, model, stage, method, engine_args={**given, **steps}, **wishes)
    train_here(tmp_path, plan)
    whole = weights_of(tmp_path / "run")
    resumed = train_here(tmp_path, plan, resume_from=str(tmp_path / "run" / "checkpoint-2"))
    assert largest_difference(whole, weights_of(tmp_path / "run")) < 1e-6
    assert loaded_loss(tmp_path, plan) == pytest.approx(resumed["after"]["loss"], abs=1e-5)


def loaded_loss(folder: Path, plan: Planned) -> float:
    """The loss on the held-out rows of what the run left, loaded by itself."""
    from fine_tuning.engine.loading import after_training
    from fine_tuning.engine.worker.scoring.score import score_run

    left, objective = (
        after_training(plan.settings, folder / "run"),
        OBJECTIVES[plan.plan.rows.stage],
    )
    held_out = folder / "dataset" / "validation.jsonl"
    scores = score_run(
        events=Heard().events,
        settings={**left.loading, **left.quantization, "stage": left.stage},
        scoring={"rows_path": str(held_out), "samples": 4, "kind": objective.scored},
        out=str(folder / "again.json"),
        name="alone",
    )
    return float(scores["loss"])
