"""The model's weights and widths, from its configuration alone: nothing is allocated."""

import re
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch

from fine_tuning.engine.worker.loading.auto_class import auto_class
from fine_tuning.values.tokens import ModelFacts, Stored, WeightKind, Weights

INDEX = re.compile(r"\.\d+(?=\.)")
# By the names of the modules above a weight; the first that is found decides.
KIND_OF_NAMES: tuple[tuple[WeightKind, re.Pattern[str]], ...] = (
    ("tower", re.compile(r"visual|vision|audio|image|speech|multi_modal_projector|code2wav")),
    ("experts", re.compile(r"\.experts\b")),
    ("attention", re.compile(r"attn|attention|mixer")),
    ("mlp", re.compile(r"mlp|feed_forward|ffn|\bfc\d?\b|shared_expert|dense_h_to|dense_4h")),
)
# Engines that read these checkpoints back into 16 bits (model_utils/quantization.py)
DEQUANTISED = ("mxfp4", "fp8")
SCALES = 0.25  # bits a number for scales and zeros, in groups of 128 as usual for GPTQ and AWQ


def model_facts(config: Any, *, trust: bool) -> ModelFacts | None:
    """Size and needs of the model, found on the meta device; None if Transformers has no class.

    `trust`: whether code that comes with the model may run. Transformers would ask on stdin.
    """
    text = getattr(config, "text_config", None) or config
    try:
        with torch.device("meta"):
            model = auto_class(config).from_config(config, trust_remote_code=trust)
    except (ValueError, KeyError, ImportError):
        return None
    heads = int(getattr(text, "num_attention_heads", 0) or 0)
    width = getattr(text, "head_dim", None) or (int(text.hidden_size) // heads if heads else 0)
    head = model.get_output_embeddings()
    return ModelFacts(
        parameters=sum(p.numel() for p in model.parameters()),
        hidden=int(text.hidden_size),
        layers=int(text.num_hidden_layers),
        vocabulary=int(text.vocab_size),
        media_positions=hasattr(getattr(model, "model", model), "get_rope_index"),
        weights=tuple(_weights(model)),
        weight_bytes=_bytes(config, text),
        stored=_stored(getattr(config, "quantization_config", None)),
        attention=heads * int(width),
        heads=heads,
        experts_per_token=_experts_per_token(text),
        tied=head is not None and head.weight is model.get_input_embeddings().weight,
        sdpa=_takes_sdpa(model, text),
        caps_scores=bool(getattr(text, "attn_logit_softcapping", None)),
        caps_logits=bool(getattr(text, "final_logit_softcapping", None)),
    )


def _takes_sdpa(model: Any, text: Any) -> bool:
    """Gemma 2 gets flash attention or none of torch's (llamafactory's attention.py)."""
    if getattr(text, "model_type", None) == "gemma2":
        return find_spec("flash_attn") is not None
    return bool(getattr(model, "_supports_sdpa", True))


def _weights(model: Any) -> Iterator[Weights]:
    """Like weights in one: the same name but for the number of the layer, and the same shape."""
    head = model.get_output_embeddings()
    counts: Counter[tuple[str, tuple[int, ...], WeightKind, bool]] = Counter()
    seen: set[int] = set()
    for path, module in model.named_modules():
        for name, weight in module.named_parameters(recurse=False):
            if id(weight) in seen:  # tied
                continue
            seen.add(id(weight))
            linear = isinstance(module, torch.nn.Linear) and weight.ndim == 2
            kind = _kind(path, name, module, is_head=module is head, dims=weight.ndim)
            counts[INDEX.sub(".*", f"{path}.{name}"), tuple(weight.shape), kind, linear] += 1
    for (name, shape, kind, linear), count in counts.items():
        layered = ".*" in name and kind != "tower"
        yield Weights(
            name=name, kind=kind, shape=shape, count=count, linear=linear, layered=layered
        )


def _kind(path: str, name: str, module: Any, *, is_head: bool, dims: int) -> WeightKind:
    above: WeightKind | None = next(
        (k for k, names in KIND_OF_NAMES if names.search(f".{path}")), None
    )
    if above == "tower":
        return "tower"
    if is_head:
        return "head"
    if isinstance(module, torch.nn.Embedding):
        return "embeddings"
    if above is None or (dims < 2 and name != "bias") or "router" in path:
        return "other"
    if above == "mlp" and dims == 2 and path.endswith(".gate") and "expert" not in path:
        return "other"  # what routes tokens to experts
    return above


def _bytes(config: Any, text: Any) -> int:
    """Of one number: the engine loads weights as they are stored (`torch_dtype: auto`)."""
    dtype = getattr(config, "dtype", None) or getattr(text, "dtype", None)
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype, None)
    return int((dtype if isinstance(dtype, torch.dtype) else torch.float32).itemsize)


def _stored(quantization: Any) -> Stored | None:
    if not quantization:
        return None
    settings = quantization if isinstance(quantization, dict) else quantization.to_dict()
    method = str(settings.get("quant_method", ""))
    if method in DEQUANTISED:
        return None
    if settings.get("load_in_4bit"):
        return Stored(method=method, bits=4.13)
    bits = settings.get("bits") or settings.get("w_bit") or 8
    return Stored(method=method, bits=float(bits) + SCALES)


def _experts_per_token(text: Any) -> int:
    for name in ("num_experts_per_tok", "moe_topk", "top_k_experts", "moe_k"):
        value = getattr(text, name, None)
        if isinstance(value, int):
            return value
    return 0
