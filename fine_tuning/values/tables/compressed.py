"""Number formats that GPU servers read, as llm-compressor makes them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """One format of the weights of linear layers; embeddings and the head stay as they are.

    `groups`: how many inputs may share a scale, the first that divides all layers is taken (empty:
    a scale for each output). `calibrated`: it is fitted to rows. `served` says what serves it;
    `passes` how often the calibration rows go through every layer.
    """

    title: str
    method: str
    groups: tuple[int, ...] = ()
    calibrated: bool = False
    passes: float = 0.0
    served: str = ""


# Compute capabilities: docs.vllm.ai, "Supported Hardware" of its quantisation kernels.
FOUR_BITS = "vLLM serves it on NVIDIA GPUs of compute capability 7.5 and above (Turing)"
COMPRESSED: Mapping[str, Compressed] = {
    "fp8": Compressed(
        title="8 bits, floating point (E4M3)",
        method="FP8_DYNAMIC",
        served="vLLM computes with it on GPUs of compute capability 8.9 and above (Ada, Hopper), "
        "and from 8.0 on it saves memory alone",
    ),
    "gptq": Compressed(
        title="4 bits, by GPTQ",
        method="W4A16",
        groups=(128, 64, 32),
        calibrated=True,
        passes=2,
        served=FOUR_BITS,
    ),
    "awq": Compressed(
        title="4 bits, by AWQ",
        method="W4A16_ASYM",
        groups=(128, 64, 32),
        calibrated=True,
        passes=24,  # 20 scales are tried for each group of layers (AWQModifier's n_grid)
        served=FOUR_BITS,
    ),
}
CALIBRATION_ROWS = 256
CALIBRATION_TOKENS = 2048  # of a row, at most
