"""Several processes under torchrun, on one node or more. The worker scores by itself before and
after, on the first node."""

from typing import Any

from fine_tuning.engine.launchers.training import Training
from fine_tuning.engine.loading import TunedModel
from fine_tuning.engine.process.environment import training_environment
from fine_tuning.engine.process.launch import OnEvent, Worker, free_port, run_distributed
from fine_tuning.screen import Screen

USUAL_PORT = 29500  # torchrun's own default
SPLIT_THE_MODEL = ("deepspeed", "fsdp")


def suits(training: Training) -> bool:
    """Several processes, or an engine that wants a process group even for one."""
    settings = training.request["settings"]
    return training.chosen.world > 1 or any(settings.get(name) for name in SPLIT_THE_MODEL)


def train(training: Training, worker: Worker, screen: Screen, on_event: OnEvent) -> dict[str, Any]:
    """Train in processes of their own, which have ended when the tuned model is scored."""
    scores = training.scoring is not None and training.spec.on_first_node
    if scores and not training.request["resume_from"]:
        _score(training, "before", training.before, worker, screen, on_event)
    screen.begin("load")
    result = run_distributed(
        [{"stage": "train", "args": dict(training.request)}],
        job_path=training.log.with_name("job.json"),
        log_path=training.log,
        launch=_meeting(training),
        environment=training_environment(
            training.spec, training.chosen.processes, training.request["settings"]
        ),
        on_event=on_event,
        stop_path=training.stop_file,
    )
    screen.end("")
    if scores and not result["interrupted"]:
        _score(training, "after", training.after, worker, screen, on_event)
    return result


def _meeting(training: Training) -> dict[str, Any]:
    """Where the processes meet: as asked for now; a port that is free on a single node."""
    spec = training.spec
    return {
        "nproc_per_node": training.chosen.processes,
        "nnodes": spec.nnodes,
        "node_rank": spec.node_rank,
        "master_addr": spec.master_addr,
        "master_port": spec.master_port or (USUAL_PORT if spec.nnodes > 1 else free_port()),
    }


def _score(
    training: Training,
    name: str,
    model: TunedModel,
    worker: Worker,
    screen: Screen,
    on_event: OnEvent,
) -> None:
    """Score in the worker by itself, where training runs in other processes."""
    assert training.scoring is not None
    screen.begin(f"score_{name}", training.scoring["samples"], "rows")
    request = {
        "settings": {**model.loading, **model.quantization},
        "scoring": training.scoring,
        "out": str(training.scores),
        "name": name,
    }
    worker.request("score", request, on_event)
    screen.end("")
