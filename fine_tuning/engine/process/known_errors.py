"""Failures of the engine that are known: what each looks like, why it happens, what to do.

A table to extend: the first pattern found in the engine's error text or log names the failure.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from fine_tuning.disk import files
from fine_tuning.disk.resources import REINSTALL
from fine_tuning.engine.gpus import OLD_BUILD, install_torch
from fine_tuning.errors import (
    EngineError,
    EnvironmentProblem,
    FineTuningError,
    ModelError,
    OutOfMemory,
)
from fine_tuning.hubs import refused


@dataclass(frozen=True)
class KnownError:
    """A failure: the pattern of its text, and the message that replaces it.

    `quoted`: whether the engine's last line is shown beside it.
    """

    pattern: str
    kind: type[FineTuningError]
    what: str
    why: str
    fix: str
    quoted: bool = True


MODEL = refused.Repo("model")  # the engine's log may name it or not


def _said(pattern: str, error: FineTuningError) -> KnownError:
    """A failure that is explained elsewhere too."""
    return KnownError(pattern, type(error), error.what, error.why, error.fix)


OUT_OF_MEMORY_FIX = (
    "end what else uses the GPU (nvidia-smi lists it); else take the first of these that is not "
    "set: --batch_size 1, a smaller --max_seq_length, --quantization 4bit"
)
KNOWN_ERRORS = (
    KnownError(  # before the full disk, which it reports as well
        r"nccl.{0,2000}(/dev/shm|shared memory)|shared memory segment /dev/shm"
        r"|(/dev/shm|shared memory).{0,300}No space left on device",
        EnvironmentProblem,
        "The processes have too little shared memory.",
        "the GPUs' processes speak through /dev/shm, of which a container has 64 MB by default",
        "start the container with --shm-size 8g or --ipc host, or set NCCL_SHM_DISABLE=1 (slower)",
    ),
    KnownError(
        r"no kernel image is available for execution|device kernel image is invalid",
        EnvironmentProblem,
        "This build of torch, or of a package beside it, has no kernels for the GPU.",
        "each build is for GPUs of some compute capabilities; torch for CUDA 13 begins with 7.5",
        f"torch for older GPUs: {install_torch(OLD_BUILD)}",
    ),
    KnownError(
        r"invalid device ordinal|Duplicate GPU detected",
        EnvironmentProblem,
        "A process was given a GPU that is not there.",
        "there are more processes than GPUs, or CUDA_VISIBLE_DEVICES hides some",
        "take a smaller --nproc_per_node, or set CUDA_VISIBLE_DEVICES to more of them",
    ),
    KnownError(
        r"Watchdog caught collective operation timeout|nccl.{0,200}timed? ?out"
        r"|ncclRemoteError|ncclSystemError|socketPollConnect",
        EnvironmentProblem,
        "The processes waited for each other in vain.",
        "one of them stands still, or the network between nodes or GPUs is closed to NCCL",
        "look in the log for a process that failed before; between nodes set NCCL_SOCKET_IFNAME to "
        "the interface that they share; where GPUs cannot reach each other, NCCL_P2P_DISABLE=1; "
        "for slow steps more seconds with --ddp_timeout",
    ),
    KnownError(
        r"Error building extension '",
        EnvironmentProblem,
        "DeepSpeed could not compile a part of itself.",
        "it needs a C++ compiler, and its call of it breaks where the path of the environment or "
        "of the home directory holds a space",
        "install a compiler (Debian: g++), keep the project in a folder without spaces in its "
        "path, or leave --deepspeed out",
    ),
    KnownError(
        r"CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)",
        OutOfMemory,
        "The device ran out of memory.",
        "CUDA's matrix library found no room for its scratch space",
        OUT_OF_MEMORY_FIX,
    ),
    KnownError(
        r"OutOfMemoryError|CUDA out of memory|MPS backend out of memory",
        OutOfMemory,
        "The device ran out of memory.",
        "model, batch and sequence length together need more than is free there",
        OUT_OF_MEMORY_FIX,
    ),
    KnownError(
        r"killed \(SIGKILL\)|Signal 9 \(SIGKILL\)|MemoryError"
        r"|DefaultCPUAllocator: can't allocate memory",
        OutOfMemory,
        "The machine ran out of memory.",
        "the system ended the training because model and batch do not fit into RAM",
        "try --batch_size 1, a smaller --max_seq_length, or a smaller model",
    ),
    KnownError(
        # torch.save reports a short write only as a wrong position in its archive
        r"No space left on device|Errno 28|disk quota exceeded"
        r"|inline_container\.cc.*unexpected pos|PytorchStreamWriter failed writing",
        EnvironmentProblem,
        files.DISK_FULL,
        "a checkpoint, a download or the merged model did not fit",
        files.FREE_SPACE,
    ),
    _said(
        r"GatedRepoError|Access to model \S+ is restricted|Cannot access gated repo",
        refused.gated(MODEL),
    ),
    KnownError(
        r"Can't find 'adapter_config\.json'",
        ModelError,
        "--adapter_name_or_path names no adapter.",
        "no adapter_config.json is there, or no directory or Hub repository of this name",
        "give the directory that holds adapter_config.json, for example the --output_dir of a run",
    ),
    _said(
        r"RepositoryNotFoundError|is not a local folder and is not a valid model identifier"
        r"|404 Client Error|Repository Not Found",
        refused.not_found(MODEL),
    ),
    _said(
        r"OfflineModeIsEnabled|LocalEntryNotFoundError|couldn't connect to|ConnectionError"
        r"|Name or service not known|Temporary failure in name resolution|Network is unreachable"
        r"|ConnectError|Max retries exceeded|MaxRetryError",
        refused.unreachable(MODEL, "there is no network, or HF_HUB_OFFLINE is set"),
    ),
    KnownError(
        r"No module named 'bitsandbytes'|bitsandbytes is not installed"
        r"|PackageNotFoundError.*bitsandbytes",
        EnvironmentProblem,
        "4-bit and 8-bit training need bitsandbytes, which is not installed.",
        "it does the quantised arithmetic",
        f"{REINSTALL}, or leave --quantization out",
    ),
    KnownError(
        r"no file named (pytorch_model\.bin|model\.safetensors)|Error no file named",
        ModelError,
        "The model directory has no weights.",
        "neither model.safetensors nor pytorch_model.bin is in it",
        "download the whole model, or give the directory that holds the weight files",
    ),
    KnownError(
        r"is not a valid JSON file",
        ModelError,
        "A configuration file of the model is damaged.",
        "config.json, or another of its JSON files, cannot be read",
        "download the model's JSON files again",
    ),
    KnownError(
        r"Couldn't instantiate the backend tokenizer|Can't load tokenizer for",
        ModelError,
        "The model has no usable tokenizer.",
        "neither tokenizer.json nor tokenizer.model can be read beside the weights",
        "download the whole model; for a model that you saved yourself, save its tokenizer too",
    ),
    KnownError(
        r"requires the saving steps to be a round multiple of the evaluation steps",
        EngineError,
        "--save_steps is not a multiple of --eval_steps.",
        "--load_best_model_at_end needs a checkpoint for each evaluation",
        "leave --save_steps out, or give a multiple",
    ),
    KnownError(
        r"does not recognize this architecture|KeyError: '[a-z0-9_]+'.*configuration_auto",
        ModelError,
        "This model's architecture is not known to the installed Transformers.",
        "it is newer than the tested versions, or needs code of its own",
        "try another model; --trust_remote_code true runs the model's own code, if you trust it",
    ),
    KnownError(
        r"requires you to execute the (configuration|modeling) file|trust_remote_code=True",
        ModelError,
        "This model wants to run code of its own.",
        "Python files of the model repository would be executed on this machine",
        "read them; if you trust them, add --trust_remote_code true",
    ),
    KnownError(
        r"Cannot merge adapters to a quantized model",
        ModelError,
        "An adapter cannot be merged into a base model that is stored quantised.",
        "merging changes full-precision weights, and a GPTQ or AWQ model has none",
        "export with the full-precision base model, or serve base and adapter together",
    ),
    KnownError(
        r"Target modules .* not found in the base model",
        ModelError,
        "--lora_target names modules that this model does not have.",
        "every architecture names its layers differently",
        "leave --lora_target out to adapt all linear layers",
    ),
    KnownError(
        r"Cannot find valid samples",
        EngineError,
        "LLaMA-Factory kept no row of the dataset.",
        "every row was dropped while it was encoded",
        "run `validate` with --model_name_or_path and look at the reasons",
    ),
    KnownError(
        r"Address already in use|EADDRINUSE",
        EnvironmentProblem,
        "The port for the processes to meet is in use.",
        "another training runs on this machine",
        "give another --master_port",
    ),
    KnownError(
        r"Your setup doesn't support bf16|does not support `pure_bf16`",
        EnvironmentProblem,
        "This device has no bfloat16.",
        "bfloat16 needs an NVIDIA GPU from the Ampere generation on",
        "leave --bf16 and --pure_bf16 out: the precision is chosen by the device",
    ),
    KnownError(
        # torch/serialization.py:_get_wo_message, whose advice would run that code
        r"Weights only load failed|WeightsUnpickler error|UnpicklingError",
        ModelError,
        "A file of weights or of a checkpoint holds more than numbers, or is damaged.",
        "it is a Python pickle that names code to run when it is opened; nothing of it was run",
        "use the safetensors files of this model, or a model of a publisher who offers them; a "
        "checkpoint that you did not make yourself is better not continued",
        quoted=False,
    ),
    KnownError(
        r"SafetensorError|InvalidHeaderDeserialization|MetadataIncompleteBuffer|HeaderTooLarge",
        ModelError,
        "A weight file is damaged or incomplete.",
        "a safetensors file cannot be read; downloads that broke off look like this",
        "delete the file and download the model again",
    ),
)


def explain(text: str, log_path: Path, *, last_line: str) -> FineTuningError:
    """The known failure that the text shows; an unknown one is shown with its last line."""
    for known in KNOWN_ERRORS:
        if re.search(known.pattern, text, re.IGNORECASE | re.DOTALL):
            log = f"\n  log:  {log_path}" + (f" ({last_line[:200]})" * known.quoted)
            if known.kind is OutOfMemory:  # the stage that failed knows better advice
                return OutOfMemory(known.what, why=known.why, fix=known.fix, after_fix=log)
            return known.kind(known.what, why=known.why, fix=f"{known.fix}{log}")
    return EngineError(
        f"LLaMA-Factory stopped: {last_line[:400]}",
        why="this failure is not one that we know",
        fix=f"the whole output is in {log_path}",
    )
