"""What training checks once the model is there."""

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from fine_tuning.engine.process.launch import free_port, torchrun_command
from fine_tuning.errors import EngineError
from tests.commands import ROOT

pytestmark = pytest.mark.engine


def model(*targets: str) -> SimpleNamespace:
    modules = [("model.layers.0.self_attn.q_proj", None), ("lm_head", None)]
    config = SimpleNamespace(target_modules=set(targets))
    return SimpleNamespace(named_modules=lambda: modules, peft_config={"default": config})


def test_one_lora_target_that_the_model_lacks_is_named() -> None:
    """PEFT trained the others and said nothing."""
    from fine_tuning.engine.worker.training.adapters.targets import require_targets

    require_targets(model("q_proj", "lm_head", "self_attn.q_proj"))
    with pytest.raises(EngineError, match="does not have: proj, v_proj"):
        require_targets(model("q_proj", "v_proj", "proj"))


NODES = """
import os
import torch.distributed as dist
from fine_tuning.engine.worker.training.train import require_same_step
from fine_tuning.errors import EngineError
from tests.commands import ROOT
dist.init_process_group("gloo")
rank = int(os.environ["RANK"])
require_same_step(7, "cpu")
try:
    require_same_step(7 * rank, "cpu")
except EngineError as error:
    open(f"{os.environ['OUT']}/{rank}", "w").write(str(error))
dist.destroy_process_group()
"""


def test_nodes_that_begin_at_different_steps_stop(tmp_path: Path) -> None:
    """A node without the first one's disk found no checkpoint and began anew, unseen."""
    (tmp_path / "nodes_job.py").write_text(NODES, encoding="utf-8")
    place = {"nproc_per_node": 2, "nnodes": 1, "node_rank": 0, "master_addr": "127.0.0.1"}
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        torchrun_command({**place, "master_port": free_port()}, ["nodes_job"]),
        env={**os.environ, "PYTHONPATH": paths, "OUT": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for rank in "01":
        text = (tmp_path / rank).read_text(encoding="utf-8")
        assert "same step: 0 and 7" in text and "a disk that all nodes share" in text
