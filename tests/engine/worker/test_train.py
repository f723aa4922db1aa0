"""What training checks once the model is there."""

from types import SimpleNamespace

import pytest

from fine_tuning.errors import EngineError

pytestmark = pytest.mark.engine


def model(*targets: str) -> SimpleNamespace:
    modules = [("model.layers.0.self_attn.q_proj", None), ("lm_head", None)]
    config = SimpleNamespace(target_modules=set(targets))
    return SimpleNamespace(named_modules=lambda: modules, peft_config={"default": config})


def test_one_lora_target_that_the_model_lacks_is_named() -> None:
    """PEFT trained the others and said nothing."""
    from fine_tuning.engine.worker.train import require_targets

    require_targets(model("q_proj", "lm_head", "self_attn.q_proj"))
    with pytest.raises(EngineError, match="does not have: proj, v_proj"):
        require_targets(model("q_proj", "v_proj", "proj"))
