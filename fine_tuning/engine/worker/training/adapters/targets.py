"""What an adapter is to change, once the model is there."""

from typing import Any

from fine_tuning.errors import EngineError


def require_targets(model: Any) -> None:
    """Raise EngineError if the adapter was to change modules that the model does not have.

    PEFT leaves such names out without a word, as long as one of them is found.
    """
    names = [name for name, _ in model.named_modules()]
    for config in getattr(model, "peft_config", {}).values():
        wanted = getattr(config, "target_modules", None)
        if not isinstance(wanted, list | set | tuple):  # a pattern
            continue
        missing = sorted(
            t for t in wanted if not any(f".{name}".endswith(f".{t}") for name in names)
        )
        if missing:
            raise EngineError(
                f"--lora_target names modules that this model does not have: {', '.join(missing)}.",
                why="every architecture names its layers differently",
                fix="leave --lora_target out to adapt all linear layers",
            )


def require_untied(model: Any) -> None:
    """Raise EngineError if a weight that is to be adapted is also used elsewhere, as the head that
    is the embedding: merged, the adapter would change both."""
    weights: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        weights.setdefault(id(weight), []).append(name)
    for names in weights.values():
        adapted = [name for name in names if ".base_layer." in name]
        if adapted and len(adapted) < len(names):
            target = adapted[0].split(".base_layer.")[0].rsplit(".", 1)[-1]
            raise EngineError(
                f"--lora_target {target} cannot be adapted alone: in this model it is the same "
                "weight as the embeddings.",
                why="merged, the adapter would change both, and the model would be another one",
                fix=f"leave {target} out of --lora_target, or train both whole with "
                "--additional_target embed_tokens,lm_head",
            )
