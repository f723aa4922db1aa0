"""The stages of the straight line, one module each: values in, a value out, and no run.

Each is a `run.run.Stage`: what it depends on, whether what it made is still there, the work, and
what the screen is told of it.
"""

from fine_tuning.stages.encode import Encode
from fine_tuning.stages.planned import Planned, places_of
from fine_tuning.stages.preparing.check import Check
from fine_tuning.stages.preparing.model import Model
from fine_tuning.stages.preparing.plan import Decide
from fine_tuning.stages.preparing.split import Split
from fine_tuning.stages.preparing.tokens import Tokens
from fine_tuning.stages.train import Train

__all__ = [
    "Check",
    "Decide",
    "Encode",
    "Model",
    "Planned",
    "Split",
    "Tokens",
    "Train",
    "places_of",
]
