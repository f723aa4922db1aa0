"""Ways to start the processes of a training. A new one is a module and a line here."""

from collections.abc import Mapping

from fine_tuning.engine.launchers import in_worker, torchrun
from fine_tuning.engine.launchers.training import Launcher, Training

__all__ = ["LAUNCHERS", "Training", "launcher_for"]

# The first that suits is taken.
LAUNCHERS: Mapping[str, Launcher] = {"torchrun": torchrun, "worker": in_worker}


def launcher_for(training: Training) -> Launcher:
    """The way in which this training is started."""
    return next(launcher for launcher in LAUNCHERS.values() if launcher.suits(training))
