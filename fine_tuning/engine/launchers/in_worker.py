"""One process: the model that is trained is scored on the way."""

from typing import Any

from fine_tuning.engine.launchers.training import Training
from fine_tuning.engine.process.launch import OnEvent, Worker
from fine_tuning.screen import Screen


def suits(training: Training) -> bool:
    """Whatever no other launcher takes."""
    return True


def train(training: Training, worker: Worker, screen: Screen, on_event: OnEvent) -> dict[str, Any]:
    """Train in the worker that is there."""
    screen.begin("load")
    request = {**training.request, "scoring": training.scoring, "measured": training.measured}
    result = worker.request("train", request, on_event, training.stop_file)
    screen.end("")
    return result
