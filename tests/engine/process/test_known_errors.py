"""Failures of the engine, as their real texts look, become one paragraph with a next step."""

import os
import pickle
from pathlib import Path

import pytest

from fine_tuning.engine.process.known_errors import explain
from fine_tuning.errors import EngineError, EnvironmentProblem, FineTuningError, ModelError

TEXTS = [
    (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
        EngineError,
        "--batch_size 1",
    ),
    ("OSError: [Errno 28] No space left on device", EnvironmentProblem, "free space"),
    (
        "huggingface_hub.errors.GatedRepoError: 403 Client Error. Access to model meta-llama/x is "
        "restricted",
        ModelError,
        "HF_TOKEN",
    ),
    (
        "OSError: foo/bar is not a local folder and is not a valid model identifier",
        ModelError,
        "--model_name_or_path",
    ),
    (
        "requests.exceptions.ConnectionError: HTTPSConnectionPool: Max retries exceeded: "
        "Temporary failure in name resolution",
        EnvironmentProblem,
        "HF_ENDPOINT",
    ),
    (
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:3690, unhandled "
        "system error. Last error:\nError while creating shared memory segment /dev/shm/nccl-x "
        "(size 9637888), error: No space left on device (28)",
        EnvironmentProblem,
        "--shm-size",
    ),
    ("OSError: [Errno 28] No space left on device: 'a'", EnvironmentProblem, "disk is full"),
    (
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the "
        "device",
        EnvironmentProblem,
        "--torch-backend=cu126",
    ),
    ("CUDA error: invalid device ordinal", EnvironmentProblem, "--nproc_per_node"),
    (
        "[rank1]: Watchdog caught collective operation timeout: WorkNCCL(SeqNum=12, "
        "OpType=ALLREDUCE, Timeout(ms)=600000)",
        EnvironmentProblem,
        "NCCL_SOCKET_IFNAME",
    ),
    (
        "RuntimeError: Error building extension 'deepspeed_shm_comm': [1/3] c++ -MMD -MF shm.o.d",
        EnvironmentProblem,
        "without spaces in its path",
    ),
    (
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        EngineError,
        "nvidia-smi",
    ),
    ("torch.OutOfMemoryError: CUDA out of memory.", EngineError, "that is not set"),
    ("ModuleNotFoundError: No module named 'bitsandbytes'", EnvironmentProblem, "requirements.txt"),
    (
        "OSError: Error no file named pytorch_model.bin, model.safetensors found in directory /m",
        ModelError,
        "weight",
    ),
    ("ValueError: Target modules {'q'} not found in the base model", ModelError, "--lora_target"),
    (
        "OSError: It looks like the config file at '/m/config.json' is not a valid JSON file.\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "OSError: Failed to load tokenizer.",
        ModelError,
        "JSON files again",
    ),
    (
        "ValueError: Couldn't instantiate the backend tokenizer from one of: \n(1) a `tokenizers` "
        "library serialization file",
        ModelError,
        "save its tokenizer too",
    ),
    (
        "ValueError: --load_best_model_at_end requires the saving steps to be a round multiple of "
        "the evaluation steps",
        EngineError,
        "leave --save_steps out",
    ),
    (
        "httpx.ConnectError: Name or service not known\nValueError: Can't find "
        "'adapter_config.json' at 'nosuch/dir'",
        ModelError,
        "--adapter_name_or_path names no adapter",
    ),
    ("safetensors_rust.SafetensorError: Error while deserializing", ModelError, "download"),
]


@pytest.mark.parametrize(("text", "kind", "advice"), TEXTS)
def test_known(text: str, kind: type[FineTuningError], advice: str) -> None:
    error = explain(text, Path("/r/logs/engine.log"), last_line=text)
    assert isinstance(error, kind)
    assert advice in str(error)
    assert "/r/logs/engine.log" in str(error)


class Attack:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.engine
def test_weights_that_run_code_are_refused_without_advice_to_run_it(tmp_path: Path) -> None:
    """torch says that such a file "can still be loaded", and how."""
    import torch

    torch.save({"weight": Attack(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(pickle.UnpicklingError) as caught:
        torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    text = f"UnpicklingError: {caught.value}"
    assert "weights_only" in text
    error = explain(text, Path("/r/logs/engine.log"), last_line=text)
    assert isinstance(error, ModelError)
    assert "nothing of it was run" in error.why and "safetensors" in error.fix
    assert "weights_only" not in str(error) and "can still be loaded" not in str(error)
    assert not (tmp_path / "ran").exists()


def test_an_unknown_one_shows_its_last_line_and_the_log() -> None:
    error = explain("boom", Path("/r/engine.log"), last_line="RuntimeError: the moon is full")
    assert isinstance(error, EngineError)
    assert "the moon is full" in error.what
    assert "/r/engine.log" in str(error)
