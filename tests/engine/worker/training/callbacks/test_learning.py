"""What is said to be trained and does nothing ends the training, by its name."""

from pathlib import Path
from typing import Any

import pytest

from fine_tuning.errors import EngineError
from fine_tuning.values.spec import RunSpec
from tests.models import build_mixture, build_model
from tests.trainings import Heard, planned, train_here, weights_of

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("method", ["full", "lora"])
def test_fused_experts_biases_and_tied_embeddings_all_learn(method: str, tmp_path: Path) -> None:
    """`train_here` raises where a tensor gets no gradient; LoRA's A gets its first in step 2."""
    steps = {"max_steps": 4}
    for name, build in (
        ("experts", build_mixture),
        ("biases", lambda path: build_model(path, biases=True, tied=False)),
        ("tied", build_model),
    ):
        folder = tmp_path / name
        wishes: dict[str, Any] = {"engine_args": steps}
        train_here(folder, planned(folder, build(folder / "m"), method=method, **wishes))


def test_fused_experts_are_adapted_merged_and_proved(tmp_path: Path) -> None:
    """`--lora_target all` leaves them out; LLaMA-Factory does not pass `target_parameters` on."""
    from fine_tuning.engine.loading import after_training, export_settings
    from fine_tuning.engine.worker.merging.merge import merge

    model = build_mixture(tmp_path / "m")
    plan = planned(tmp_path, model, target_parameters=("experts",), engine_args={"max_steps": 4})
    shown = {it.name: it for it in plan.plan.choices}
    assert "experts" in shown["adapted_weights"].value
    assert plan.train.alone == "LLaMA-Factory does not pass PEFT's target_parameters on"
    train_here(tmp_path, plan, scored=False)
    result = merge(
        events=Heard().events,
        settings=export_settings(after_training(plan.settings, tmp_path / "run"), RunSpec()),
        base=str(model),
        partial_dir=str(tmp_path / "merged"),
        probe_rows=None,
        chat_template=None,
    )
    assert result["proof"]["proved"]
    base, merged = weights_of(model), weights_of(tmp_path / "merged")
    experts = [name for name in base if ".experts." in name]
    assert experts and all(bool((base[name] != merged[name]).any()) for name in experts)


def test_a_tensor_without_a_gradient_is_named_in_the_first_step(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llamafactory.model import loader

    known = loader.init_adapter

    def with_a_spare(*given: Any, **named: Any) -> Any:
        import torch

        model = known(*given, **named)
        model.spare = torch.nn.Linear(4, 4)
        return model

    monkeypatch.setattr(loader, "init_adapter", with_a_spare)
    with pytest.raises(EngineError, match=r"^2 of 30 .* get no gradient: spare.weight, spare.bias"):
        train_here(tmp_path, planned(tmp_path, tiny_model), scored=False)


def test_the_model_is_not_asked_about_the_padding_of_packed_rows() -> None:
    """Where the embedding of padding is zero, as it often is, nothing that is trained reaches the
    answers: a whole training with --neat_packing ended as one that had changed nothing."""
    import torch
    from llamafactory.data.collator import prepare_4d_attention_mask

    from fine_tuning.engine.worker.training.callbacks.learning import probe_of

    numbers = torch.tensor([[1, 1, 2, 2, 2, 0, 0]])
    ids = torch.tensor([[5, 6, 7, 8, 9, 0, 0]])
    packed = prepare_4d_attention_mask(numbers, torch.float32)
    for mask in (packed, numbers):
        assert probe_of({"input_ids": ids, "attention_mask": mask}).tolist() == [[5, 6, 7, 8, 9]]


def test_a_training_that_changes_no_answer_is_not_done(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.optim import AdamW

    monkeypatch.setattr(AdamW, "step", lambda *given, **named: None)
    with pytest.raises(EngineError, match="answers exactly as it did before the training"):
        train_here(tmp_path, planned(tmp_path, tiny_model), scored=False)
    assert not (tmp_path / "run" / "adapter_model.safetensors").exists()
