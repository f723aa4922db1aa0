"""A user's files -> checked, prepared rows. Never imports torch.

check -> (tokens, by the engine's worker) -> prepare -> entries, register
"""

from fine_tuning.dataset.account import problem_groups, report_json
from fine_tuning.dataset.check import account, check, refuse_unusable
from fine_tuning.dataset.schedule import CHECK_VERSION, Progress
from fine_tuning.dataset.stages import default_stage, stage_mismatch
from fine_tuning.dataset.types import ProblemGroup

__all__ = [
    "CHECK_VERSION",
    "ProblemGroup",
    "Progress",
    "account",
    "check",
    "default_stage",
    "problem_groups",
    "refuse_unusable",
    "report_json",
    "stage_mismatch",
]
