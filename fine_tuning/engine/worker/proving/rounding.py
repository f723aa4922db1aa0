"""A loaded model that computes as if it were kept in a coarser number format.

So what a format explains is measured on the model itself, not taken from another one's table.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from peft.utils.integrations import dequantize_bnb_weight

BLOCK = 32  # numbers that share a scale in llama.cpp's formats (ggml-common.h)
Rounded = Callable[["torch.Tensor"], "torch.Tensor"]


def in_float(kind: "torch.dtype", numbers: "torch.Tensor") -> "torch.Tensor":
    """The numbers after a stay in another floating format; too large ones become its largest."""
    largest = torch.finfo(kind).max
    return numbers.clamp(-largest, largest).to(kind).to(numbers.dtype)


def in_blocks(bits: int, numbers: "torch.Tensor") -> "torch.Tensor":
    """The numbers as so many equal steps between the least and the greatest of their block."""
    width = BLOCK if numbers.shape[-1] % BLOCK == 0 else numbers.shape[-1]
    blocks = numbers.float().unflatten(-1, (-1, width))
    low, high = blocks.amin(-1, keepdim=True), blocks.amax(-1, keepdim=True)
    step = ((high - low) / (2**bits - 1)).clamp_min(torch.finfo(torch.float32).tiny)
    return (low + ((blocks - low) / step).round() * step).flatten(-2).to(numbers.dtype)


def in_scaled_e4m3(numbers: "torch.Tensor") -> "torch.Tensor":
    """The numbers in FP8 E4M3 (three bits behind the point, at most 448: the OCP's OFP8, and
    arXiv:2209.05433), each row with a scale by its largest, as FP8_DYNAMIC keeps the rows of
    weights and each token's numbers."""
    largest = torch.finfo(torch.float8_e4m3fn).max
    size = numbers.float().abs().amax(-1, keepdim=True)
    scale = (size / largest).clamp_min(torch.finfo(torch.float32).tiny)
    kept = (numbers.float() / scale).clamp(-largest, largest).to(torch.float8_e4m3fn)
    return (kept.float() * scale).to(numbers.dtype)


FLOATS: Mapping[str, Rounded] = {
    "float16": partial(in_float, torch.float16),
    "bfloat16": partial(in_float, torch.bfloat16),
}
QUANTIZED: Mapping[str, Rounded] = {
    f"{bits} bits": partial(in_blocks, bits) for bits in (8, 6, 5, 4, 3, 2)
}
SCALED: Mapping[str, Rounded] = {"fp8": in_scaled_e4m3}
PACKED = ("Linear4bit", "Linear8bitLt")
FORMATS = (*FLOATS, *QUANTIZED, *SCALED)


@contextmanager
def computed_in(model: Any, name: str) -> Iterator[None]:
    """Inside, matrices are rounded to the format when they are used; between the layers everything
    is rounded to it too if it is a floating one (as Transformers computes). What enters a matrix
    of the others is rounded to 8 bits (as llama.cpp does), or scaled like it (as vLLM does)."""
    weights = {**FLOATS, **QUANTIZED, **SCALED}[name]
    between = FLOATS.get(name)
    before = between or SCALED.get(name) or QUANTIZED["8 bits"]
    with ExitStack() as hooks:
        for module in model.modules():
            if _is_packed(module):
                hook = module.register_forward_hook(partial(_unpacked, weights, before))
                hooks.callback(hook.remove)
                continue
            matrices = [
                weight
                for weight in module.parameters(recurse=False)
                if weight.ndim > 1 and weight.is_floating_point() and not weight.is_meta
            ]
            if matrices:
                kept: list[torch.Tensor] = []
                entering = module.register_forward_pre_hook(
                    partial(_enter, matrices, kept, weights, before)
                )
                leaving = module.register_forward_hook(
                    partial(_leave, matrices, kept), always_call=True
                )
                hooks.callback(entering.remove)
                hooks.callback(leaving.remove)
            if between is not None:
                hooks.callback(module.register_forward_hook(partial(_passed_on, between)).remove)
        yield


def _enter(
    matrices: Any, kept: Any, weights: Rounded, before: Rounded, module: Any, inputs: Any
) -> Any:
    for matrix in matrices:
        kept.append(matrix.data)
        matrix.data = weights(matrix.data)
    return tuple(
        before(it) if torch.is_tensor(it) and it.is_floating_point() else it for it in inputs
    )


def _leave(matrices: Any, kept: Any, module: Any, inputs: Any, output: Any) -> None:
    for matrix, numbers in zip(matrices, kept, strict=True):
        matrix.data = numbers
    kept.clear()


def _passed_on(between: Rounded, module: Any, inputs: Any, output: Any) -> Any:
    if torch.is_tensor(output) and output.is_floating_point():
        return between(output)
    return output


def _is_packed(module: Any) -> bool:
    kind = type(module)  # PEFT gives the layers that it puts around them the same names
    return kind.__module__.startswith("bitsandbytes.") and kind.__name__ in PACKED


def _unpacked(weights: Rounded, before: Rounded, module: Any, inputs: Any, output: Any) -> Any:
    """What a layer of bitsandbytes would give whose weights are rounded once more."""
    state = getattr(module, "state", None)
    matrix = weights(dequantize_bnb_weight(module.weight, state=state)).to(output.dtype)
    bias = None if module.bias is None else module.bias.to(output.dtype)
    found: torch.Tensor = torch.nn.functional.linear(
        before(inputs[0]).to(output.dtype), matrix, bias
    )
    return found
