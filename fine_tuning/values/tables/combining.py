"""How several adapters become one (`--combine`): PEFT's ways, each with what it asks of them.

linear: the factors are added, each with the square root of its weight, so that products of two
adapters' factors come in. cat: the factors stand side by side, which is the weighted sum itself.
svd: the best approximation of that sum at the rank of the result. The others first drop a part of
the numbers: those of least size (ties: Yadav et al., arXiv:2306.01708, which also settles signs;
magnitude_prune), or any (dare: Yu et al., arXiv:2311.03099).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Combination:
    """What a way asks for: adapters of one rank, a share of the numbers to keep."""

    one_rank: bool = False
    prunes: bool = False


def _pruning(name: str) -> dict[str, Combination]:
    return {
        name: Combination(one_rank=True, prunes=True),
        f"{name}_svd": Combination(prunes=True),
    }


COMBINATIONS: Mapping[str, Combination] = {
    "linear": Combination(one_rank=True),
    "cat": Combination(),
    "svd": Combination(),
    **_pruning("ties"),
    **_pruning("dare_linear"),
    **_pruning("dare_ties"),
    **_pruning("magnitude_prune"),
}
DENSITY = 0.2  # of the numbers are kept: the value of the paper on TIES, section 4


@dataclass(frozen=True, kw_only=True)
class Combining:
    """These adapters become one, each with its weight."""

    how: str
    adapters: tuple[Path, ...]
    weights: tuple[float, ...]
    density: float = DENSITY
    svd_rank: int | None = None  # of what the svd leaves; None: the largest of the adapters'

    @property
    def text(self) -> str:
        """The way and its numbers, for the screen and the card."""
        weights = ", ".join(f"{weight:g}" for weight in self.weights)
        more = f", density {self.density:g}" if COMBINATIONS[self.how].prunes else ""
        return f"{self.how}, weights {weights}{more}"
