"""What the numbers hide: the content of rows that are well formed."""

from fine_tuning.dataset.insight.examine import examine
from fine_tuning.dataset.insight.findings import Findings

__all__ = ["Findings", "examine"]
