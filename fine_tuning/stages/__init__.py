"""The stages of the straight line, one module each: values in, a value out, and no run.

Each is a `run.run.Stage`: what it depends on, whether what it made is still there, the work, and
what the screen is told of it.
"""

from fine_tuning.stages.check import Check
from fine_tuning.stages.encode import Encode
from fine_tuning.stages.model import Model
from fine_tuning.stages.plan import Decide
from fine_tuning.stages.planned import Planned, places_of
from fine_tuning.stages.split import Split
from fine_tuning.stages.tokens import Tokens
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
