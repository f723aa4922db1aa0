"""Methods of PEFT that LLaMA-Factory does not know, on its own loading, template and data."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.values.tables.methods import METHODS
from tests.trainings import largest_difference, planned, train_here, weights_of

pytestmark = pytest.mark.engine

OURS = [name for name, method in METHODS.items() if method.trainer == "peft"]
FIRST = ("p_tuning", "adalora")  # in every suite: each begins again in a way of its own
SOFT = [name for name in OURS if METHODS[name].soft_prompt]


def logits_of(base: Path, adapter: Path | None = None) -> Any:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    model.eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits[:, -4:]


@pytest.mark.parametrize("method", OURS)
def test_what_is_trained_is_loaded_by_peft_and_changes_the_answers(
    method: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the plan has said how many numbers it is."""
    from fine_tuning.engine.worker.training.adapters import peft as adapters

    known, counts = adapters.put, []

    def put(*given: Any) -> Any:
        tuned = known(*given)
        counts.append(sum(it.numel() for it in tuned.parameters() if it.requires_grad))
        return tuned

    monkeypatch.setattr(adapters, "put", put)
    plan = planned(tmp_path, tiny_model, method=method)
    result = train_here(tmp_path, plan)
    (shown,) = [it.value for it in plan.plan.choices if it.name == "trained_parameters"]
    assert counts == [int(shown.replace(",", ""))]
    assert math.isfinite(result["metrics"]["train_loss"])
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert scores["before"]["metrics"]["loss"] != scores["after"]["metrics"]["loss"]
    assert largest_difference_of(tiny_model, tmp_path / "run") > 1e-6


def largest_difference_of(base: Path, adapter: Path) -> float:
    return float((logits_of(base) - logits_of(base, adapter)).abs().max())


@pytest.mark.parametrize("method", SOFT)
def test_before_the_training_the_bare_base_model_is_scored(
    method: str, tiny_model: Path, tmp_path: Path
) -> None:
    """Virtual tokens change the answers from the start, unlike other fresh adapters."""
    before = []
    for name in ("lora", method):
        plan = planned(tmp_path / name, tiny_model, method=name)
        before.append(train_here(tmp_path / name, plan)["before"]["loss"])
    assert before[0] == pytest.approx(before[1], abs=1e-5)


def test_a_soft_prompt_goes_on_with_its_encoder(tiny_model: Path, tmp_path: Path) -> None:
    """PEFT saves the prompt alone: another encoder went on from a checkpoint of P-tuning."""
    from fine_tuning.engine.worker.training.train import train

    whole = planned(
        tmp_path, tiny_model, method="p_tuning", engine_args={"save_steps": 1, "max_steps": 3}
    )
    train_here(tmp_path, whole, scored=False)
    undisturbed = weights_of(tmp_path / "run")
    train(
        events=heard(),
        settings=whole.train.all,
        stop_path=str(tmp_path / "stop"),
        expected={"unit": "rows", "count": 12},
        resume_from=str(tmp_path / "run" / "checkpoint-2"),
    )
    assert largest_difference(undisturbed, weights_of(tmp_path / "run")) < 1e-6


@pytest.mark.parametrize(
    "method",
    ["p_tuning", *[pytest.param(it, marks=pytest.mark.slow) for it in OURS if it != "p_tuning"]],
)
def test_the_best_checkpoint_is_what_is_left_and_scored(
    method: str, tiny_model: Path, tmp_path: Path
) -> None:
    """PEFT put the prompt of P-tuning's best checkpoint before the network that computes it: the
    adapter was another than any checkpoint's, and nothing said so."""
    import torch

    best: dict[str, Any] = {
        "load_best_model_at_end": True,
        "save_steps": 1,
        "save_total_limit": 6,
        "max_steps": 6,
    }
    best |= {"metric_for_best_model": "eval_loss", "greater_is_better": True, "warmup_steps": 0}
    plan = planned(tmp_path, tiny_model, method=method, engine_args=best)
    result = train_here(tmp_path, plan)
    state = json.loads((tmp_path / "run" / "trainer_state.json").read_text(encoding="utf-8"))
    folder = Path(state["best_model_checkpoint"])
    assert folder.name != "checkpoint-6", "the last is not the best here"
    left, saved = (logits_of(tiny_model, it) for it in (tmp_path / "run", folder))
    assert torch.allclose(left, saved, atol=1e-5)
    losses = {it["step"]: it["eval_loss"] for it in state["log_history"] if "eval_loss" in it}
    nearest = min(losses, key=lambda step: abs(losses[step] - result["after"]["loss"]))
    assert f"checkpoint-{nearest}" == folder.name


def heard() -> Any:
    from tests.trainings import Heard

    return Heard().events


def test_layers_behind_virtual_tokens_are_computed_again(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLaMA-Factory left such layers out, and the activations of all of them were kept."""
    from transformers.models.llama.modeling_llama import LlamaMLP

    known: Any = LlamaMLP.forward
    passes = []
    for off in (False, True):
        count = [0]

        def forward(layer: Any, *given: Any, count: list[int] = count) -> Any:
            count[0] += layer.training
            return known(layer, *given)

        monkeypatch.setattr(LlamaMLP, "forward", forward)
        engine = {"disable_gradient_checkpointing": off, "eval_strategy": "no", "max_steps": 1}
        plan = planned(tmp_path / str(off), tiny_model, method="prompt_tuning", engine_args=engine)
        train_here(tmp_path / str(off), plan, scored=False)
        passes.append(count[0])
    assert passes[0] == 2 * passes[1] > 0
    again, once = (weights_of(tmp_path / str(off) / "run") for off in (False, True))
    assert largest_difference(again, once) < 1e-6


def test_a_prefix_begins_as_what_the_model_computes_for_the_text(tiny_model: Path) -> None:
    """A random one learns far worse."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from fine_tuning.engine.worker.training.adapters.peft import Fresh, put

    text = "What is the capital of France?"
    ids = AutoTokenizer.from_pretrained(tiny_model).encode(text)
    more = [11, 12, 13]
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    with torch.no_grad():
        together = model(input_ids=torch.tensor([ids + more])).logits[:, -len(more) :]
    given = {"num_virtual_tokens": len(ids), "init_text": text}
    fresh = Fresh(method="prefix_tuning", given=given, base=str(tiny_model))
    tuned = put(model, fresh).eval()
    with torch.no_grad():
        after_prefix = tuned(input_ids=torch.tensor([more])).logits
    assert torch.allclose(together, after_prefix, atol=1e-4)


def trained_on(folder: Path, model: Path, method: str, **engine: object) -> dict[str, Any]:
    """A training of three steps, scored; gives what the worker gives."""
    wishes = {"max_steps": 3, **engine}
    return train_here(folder, planned(folder, model, method=method, engine_args=wishes))


def test_ada_lora_gives_its_ranks_out_and_goes_on_with_them(
    tiny_model: Path, tmp_path: Path
) -> None:
    """PEFT leaves its schedule to the training loop: without it all ranks stay."""
    from fine_tuning.engine.worker.training.train import train

    whole = planned(
        tmp_path, tiny_model, method="adalora", engine_args={"save_steps": 2, "max_steps": 6}
    )
    train_here(tmp_path, whole, scored=False)
    undisturbed = weights_of(tmp_path / "run")
    ranks = [it.shape[0] for name, it in undisturbed.items() if name.endswith("lora_E")]
    assert sum(ranks) / len(ranks) == pytest.approx(4, abs=0.1), "--lora_rank, on average"
    assert len(set(ranks)) > 1 and max(ranks) <= 6, "of the 6 that each began with"
    train(
        events=heard(),
        settings=whole.train.all,
        stop_path=str(tmp_path / "stop"),
        expected={"unit": "rows", "count": 12},
        resume_from=str(tmp_path / "run" / "checkpoint-4"),
    )
    assert largest_difference(undisturbed, weights_of(tmp_path / "run")) < 1e-6


@pytest.mark.parametrize(
    "method",
    [
        name if name in FIRST else pytest.param(name, marks=pytest.mark.slow)
        for name, it in METHODS.items()
        if it.makes_adapter
    ],
)
def test_a_training_begins_as_the_adapter_that_it_goes_on_with(
    method: str, tiny_model: Path, tmp_path: Path
) -> None:
    small = {"oft_block_size": 8, "oft_rank": 0} if method == "oft" else {}
    first = trained_on(tmp_path / "first", tiny_model, method, **small)
    adapter = tmp_path / "first" / "run"
    second = trained_on(
        tmp_path / "second", tiny_model, method, **small, adapter_name_or_path=str(adapter)
    )
    assert second["before"]["loss"] == pytest.approx(first["after"]["loss"], abs=1e-5)
    assert largest_difference_of(tiny_model, tmp_path / "second" / "run") > 1e-6


def test_a_prompt_is_trained_on_a_base_with_another_adapter_in_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    first = trained_on(tmp_path / "first", tiny_model, "lora")
    below = {"adapter_name_or_path": str(tmp_path / "first" / "run"), "create_new_adapter": True}
    second = trained_on(tmp_path / "second", tiny_model, "prompt_tuning", **below)
    assert second["before"]["loss"] == pytest.approx(first["after"]["loss"], abs=1e-5)
