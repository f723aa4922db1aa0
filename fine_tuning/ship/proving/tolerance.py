"""How much a number format explains. docs/prove.md says where the figures are from."""

import re
from collections.abc import Mapping

from fine_tuning.values.answers.contract import Contract, Noise

# Two computations of the same numbers in float32, in another order.
IN_ORDER = Noise(mean=2e-3, largest=2e-2)
# The noise is of a rounding like the format's, on as many places: the format's own may be larger.
TIMES = 3.0
COARSER = (
    *("float32", "float16", "bfloat16", "8 bits", "6 bits"),
    *("fp8", "5 bits", "4 bits", "3 bits", "2 bits"),
)
FULL_NAMES: Mapping[str, str] = {
    "f32": "float32",
    "f16": "float16",
    "fp16": "float16",
    "bf16": "bfloat16",
    "float8_e4m3fn": "fp8",
}
OF_BITS = re.compile(r"(?:Q|IQ|TQ|INT|FP|NF)(\d)", re.IGNORECASE)


def format_of(said: str) -> str:
    """The format that noise was measured for, by a server's or file's name of its own: `Q4_K -
    Medium` is 4 bits. Empty if it is none that is known."""
    name = said.strip().lower().removeprefix("all ").removeprefix("mostly ")
    if name in COARSER:
        return name
    if name in FULL_NAMES:
        return FULL_NAMES[name]
    found = OF_BITS.search(name)
    known = f"{found[1]} bits" if found else ""
    return {"7 bits": "6 bits", "1 bits": "2 bits"}.get(known, known if known in COARSER else "")


def noise_of(contract: Contract, name: str) -> Noise:
    """What rounding to the format makes, to that in which the contract was written, or to that of
    the base model's files: a merge rounds to it, whatever the file is converted to later."""
    names = (name, contract.dtype, contract.stored)
    known = [contract.noise[it] for it in names if it in contract.noise]
    return Noise(
        mean=TIMES * max(it.mean for it in [IN_ORDER, *known]),
        largest=TIMES * max(it.largest for it in [IN_ORDER, *known]),
    )
