"""What the user asked for: frozen values, each documented where it is defined.

The command line, `--config` files and presets are all read into these values, and `--help` is
written from them. `None` means "chosen for you" (by `engine.plan`, from the data, the model and
the devices) and is shown before the run.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fine_tuning.disk.paths import slug
from fine_tuning.disk.resources import FORMATS
from fine_tuning.values.tables.compressed import COMPRESSED
from fine_tuning.values.tables.gguf import ALL_SIZES, GGUF_TYPES, LADDER, USUAL, ollama_name
from fine_tuning.values.tables.methods import METHODS, SHORT_FOR
from fine_tuning.values.tables.objectives import OBJECTIVES

# Each file in the folder is a format; `auto` finds which one the rows have.
DATASET_FORMATS = ("auto", *sorted(path.stem for path in FORMATS.glob("*.json")))
TEXT_UNITS = ("auto", "line", "document")
QUANTIZATIONS = ("none", "4bit", "8bit")
LANGUAGES = ("en", "zh")
OVERLONG = ("auto", "drop", "truncate", "error")
AUTO = "auto"  # a place or name that is derived from the model and the data
MERGE_IN = ("auto", "memory", "shards")
# Settings that change neither what is trained nor how: a repeated command may change them freely.
FREE = frozenset(
    {
        "export_dir",
        "checkpoint",
        "merge_in",
        "gguf",
        "gguf_adapter",
        "gguf_dir",
        "llama_cpp",
        "ollama",
        "export_quantization",
        "quantized_dir",
        "llm_compressor",
        "system",
        "dry_run",
        "restart",
        "dataset_dir",
        "output_dir",
        "score_samples",
        "reward_timeout",
        "ledger",
        "lang",
        "master_addr",
        "master_port",
        "node_rank",
        "num_workers",
    }
)


def flag(
    default: Any,
    help: str,
    *,
    group: str,
    choices: tuple[str, ...] = (),
    metavar: str = "",
    engine_name: str = "",
    alone: str = "",
    elsewhere: str = "",
) -> Any:
    """One setting: its default, its line in `--help`, LLaMA-Factory's name for it, the value that
    the flag alone means, and its line in commands other than `run`, where it means less."""
    metadata = {
        "help": help,
        "group": group,
        "choices": choices,
        "metavar": metavar,
        "engine_name": engine_name,
        "alone": alone,
        "elsewhere": elsewhere,
    }
    if isinstance(default, (dict, list, set)):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The dataset and how its rows are read and checked."""

    dataset_path: tuple[str, ...] = flag(
        (),
        "files, a directory, or a Hub dataset id (default: the bundled sample of --dataset_format)",
        elsewhere="files, a directory, or a Hub dataset id",
        group="data",
        metavar="PATH",
    )
    dataset_format: str = flag(
        "auto", "how the rows are shaped", group="data", choices=DATASET_FORMATS
    )
    text_column: str | None = flag(
        None,
        "column that holds the text of `text` data (default: the only text column, or `text`)",
        group="data",
        metavar="NAME",
    )
    columns: Mapping[str, str] = flag(
        {},
        "names of your columns: instruction=QUESTION,output=ANSWER",
        group="data",
        metavar="OURS=YOURS",
    )
    ignore_columns: tuple[str, ...] = flag(
        (),
        "columns that are not read, on purpose",
        group="data",
        metavar="YOURS",
    )
    text_unit: str = flag(
        "auto",
        "what one text of a .txt or .md file is: each line, or the whole file (auto: by its look)",
        group="data",
        choices=TEXT_UNITS,
    )
    media_dir: str | None = flag(
        None,
        "folder that paths of pictures, videos and sounds start from (default: the data file's)",
        group="data",
        metavar="DIR",
    )
    ignore_splits: bool = flag(
        False, "train on every file, also on those named test or validation", group="data"
    )
    allow_truncated: bool = flag(
        False, "train on what is there of a file that was cut off", group="data"
    )
    allow_unanswered: bool = flag(
        False,
        "rows may be prompts without an answer (--stage grpo and rloo always read them)",
        group="data",
    )
    dataset_config: str | None = flag(
        None, "configuration (subset) of a Hub dataset", group="data", metavar="NAME"
    )
    dataset_split: str | None = flag(
        None, "split of a Hub dataset (default: train)", group="data", metavar="NAME"
    )
    dataset_revision: str | None = flag(
        None, "revision of a Hub dataset", group="data", metavar="REV"
    )
    mix: Mapping[str, float] = flag(
        {},
        "weights of several datasets: a.jsonl=2,b.jsonl=1",
        group="data",
        metavar="PATH=WEIGHT",
    )
    dedup: bool = flag(False, "drop exact repeats (they are named either way)", group="data")
    near_duplicates: bool | None = flag(
        None, "look for near-duplicates (default: up to 100,000 rows)", group="data"
    )
    max_bad_rows: float = flag(
        0.1, "stop when more than this share of the rows is unusable", group="data", metavar="SHARE"
    )
    num_workers: int | None = flag(
        None, "processes that read the data (default: by size and cores)", group="data", metavar="N"
    )


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One whole job, from the dataset to the merged model and the report."""

    model_name_or_path: str | None = flag(
        None,
        "local directory or Hub id (default: the bundled demo model)",
        elsewhere="local directory or Hub id",
        group="model",
        metavar="MODEL",
    )
    from_run: Path | None = flag(
        None,
        "start from the model of a finished run, with its template and settings",
        group="model",
        metavar="RUN",
    )
    template: str = flag(
        "auto",
        "a template of LLaMA-Factory's by its name (auto: the model's own chat template)",
        group="model",
        metavar="NAME",
    )
    data: DataSpec = DataSpec()
    val_size: float = flag(
        0.1,
        "share (below 1) or number of rows held out, at most 500 if a share",
        group="data",
        metavar="N",
    )
    val_dataset_path: tuple[str, ...] = flag(
        (), "rows to validate on, instead of holding some out", group="data", metavar="PATH"
    )
    overlong: str = flag(
        "auto",
        "rows longer than --max_seq_length (auto: keep the turns that fit, cut text into blocks)",
        group="data",
        choices=OVERLONG,
    )
    dataset_dir: Path = flag(
        Path("data"),
        "where the prepared dataset is registered for LLaMA-Factory and its WebUI",
        group="data",
        metavar="DIR",
    )
    method: str = flag(
        "lora",
        "what is trained (qlora: lora with 4bit)",
        group="method",
        choices=(*METHODS, *SHORT_FOR),
        engine_name="finetuning_type",
    )
    stage: str | None = flag(
        None,
        "kind of training (default: sft for chat, pt for text, kto for KTO data)",
        group="method",
        choices=tuple(OBJECTIVES),
    )
    reward: tuple[str, ...] = flag(
        (),
        "how good an answer is, for --stage grpo and rloo: exact_match, regex:PATTERN, json_valid, "
        "length:N, FILE.py:FUNCTION, or a run of --stage rm; several with weights: "
        "exact_match=1 length:200=0.5",
        group="method",
        metavar="REWARD",
    )
    reward_timeout: float = flag(
        60.0,
        "seconds that a reward of your own may take for one step's answers",
        group="method",
        metavar="SECONDS",
    )
    quantization: str = flag(
        "none",
        "load the base model in 4 or 8 bits (QLoRA)",
        elsewhere="load the model in 4 or 8 bits",
        group="method",
        choices=QUANTIZATIONS,
        engine_name="quantization_bit",
    )
    num_virtual_tokens: int = flag(
        20,
        "virtual tokens of prompt_tuning, prefix_tuning and p_tuning",
        group="method",
        metavar="N",
    )
    prompt_init: str | None = flag(
        None,
        "text that prompt_tuning and prefix_tuning start from (default: a sentence that asks for a "
        "helpful answer)",
        group="method",
        metavar="TEXT",
    )
    lora_rank: int = flag(8, "rank of the adapter", group="method", metavar="N")
    lora_alpha: int | None = flag(
        None, "scale of the adapter (default: twice the rank)", group="method", metavar="N"
    )
    target_parameters: tuple[str, ...] = flag(
        (),
        "weights beside linear layers that LoRA adapts too (experts: all routed ones)",
        group="method",
        metavar="NAME",
    )
    epochs: float = flag(
        3.0,
        "passes over the training rows",
        group="training",
        metavar="N",
        engine_name="num_train_epochs",
    )
    batch_size: int | None = flag(
        None,
        "rows per device and step (default: by length and device)",
        group="training",
        metavar="N",
        engine_name="per_device_train_batch_size",
    )
    learning_rate: float | None = flag(
        None, "peak learning rate (default: by method)", group="training", metavar="RATE"
    )
    max_seq_length: int | None = flag(
        None,
        "tokens per row (default: by the real lengths)",
        group="training",
        metavar="N",
        engine_name="cutoff_len",
    )
    seed: int = flag(42, "seed of split, order and initialisation", group="training", metavar="N")
    use_cpu: bool = flag(
        False,
        "train on the CPU even if there is a GPU",
        elsewhere="use the CPU even if there is a GPU",
        group="training",
    )
    nproc_per_node: int | None = flag(
        None, "worker processes on this node (default: one per GPU)", group="launch", metavar="N"
    )
    nnodes: int = flag(1, "number of nodes", group="launch", metavar="N")
    node_rank: int = flag(0, "rank of this node", group="launch", metavar="N")
    master_addr: str = flag(
        "127.0.0.1", "address of the first node", group="launch", metavar="HOST"
    )
    master_port: int | None = flag(
        None, "port of the first node (default: a free one)", group="launch", metavar="PORT"
    )
    score_samples: int = flag(
        100,
        "held-out rows answered before and after training (0: none)",
        group="score",
        metavar="N",
    )
    ledger: str = flag(
        "auto",
        "keep the loss of each row before and after training (auto: up to 5,000 rows)",
        group="score",
        choices=("auto", "on", "off"),
    )
    output_dir: Path | None = flag(
        None,
        "the run's folder (default: runs/<model>-<data>-<hash>)",
        elsewhere="the folder of a finished run",
        group="output",
        metavar="DIR",
    )
    export_dir: Path | None = flag(
        None,
        "merge into this empty directory (the flag alone: beside the run, ending in -merged)",
        group="output",
        metavar="DIR",
        alone=AUTO,
    )
    gguf: tuple[str, ...] = flag(
        (),
        "write the merged model for llama.cpp and Ollama, in these formats (the flag alone: "
        f"{USUAL}; {ALL_SIZES}: {' '.join(LADDER)}, measured on held-out rows)",
        group="output",
        choices=(*GGUF_TYPES, ALL_SIZES),
        alone=USUAL,
    )
    gguf_adapter: bool = flag(
        False, "write the LoRA adapter by itself for llama.cpp, as a GGUF file", group="output"
    )
    gguf_dir: Path | None = flag(
        None,
        "directory of the GGUF files (default: beside --export_dir or the run, ending in -gguf)",
        group="output",
        metavar="DIR",
    )
    llama_cpp: Path | None = flag(
        None,
        "folder of llama.cpp (default: LLAMA_CPP_DIR, the PATH, or what `make llama-cpp` set up)",
        group="output",
        metavar="DIR",
    )
    ollama: str | None = flag(
        None,
        "make a model of this name in Ollama, of the first GGUF file; without --gguf of the merged "
        f"model in --export_dir where Ollama imports it, else of a {USUAL} file (the flag alone: "
        "its name before, or by model and data)",
        group="output",
        metavar="NAME",
        alone=AUTO,
    )
    export_quantization: str | None = flag(
        None,
        "write the merged model for GPU servers too, in this format, by llm-compressor (`make "
        "llm-compressor`)",
        group="output",
        choices=tuple(COMPRESSED),
    )
    quantized_dir: Path | None = flag(
        None,
        "directory of that (default: beside --export_dir or the run, ending in the format)",
        group="output",
        metavar="DIR",
    )
    llm_compressor: Path | None = flag(
        None,
        "folder of llm-compressor (default: LLM_COMPRESSOR_DIR, or what `make llm-compressor` set "
        "up)",
        group="output",
        metavar="DIR",
    )
    system: str | None = flag(
        None,
        "system prompt of the model in Ollama, for conversations that bring none",
        group="output",
        metavar="TEXT",
    )
    checkpoint: str | None = flag(
        None,
        "merge this checkpoint, by its step, or `best` by its evaluation (default: the end of the "
        "training)",
        group="output",
        metavar="STEP",
    )
    merge_in: str = flag(
        "auto",
        "merge the model in memory, or a shard of --export_size at a time (auto: by shards where "
        "the memory is too small for the model)",
        group="output",
        choices=MERGE_IN,
    )
    restart: bool = flag(
        False, "start an existing run again (its old state is moved aside)", group="output"
    )
    lang: str | None = flag(
        None,
        "language of the report (default: both, and the reader's browser decides)",
        group="output",
        choices=LANGUAGES,
    )
    dry_run: bool = flag(False, "show every choice and stop before training", group="output")
    engine_args: Mapping[str, Any] = flag(
        {}, "any LLaMA-Factory or Transformers training argument, by its own name", group="engine"
    )

    @property
    def climbs(self) -> bool:
        """Whether several sizes are made to be compared."""
        return ALL_SIZES in self.gguf

    @property
    def gguf_types(self) -> tuple[str, ...]:
        """The formats of GGUF files that are asked for."""
        named = tuple(kind for kind in self.gguf if kind != ALL_SIZES)
        return tuple(dict.fromkeys((*LADDER, *named))) if self.climbs else named

    @property
    def wants_merged(self) -> bool:
        """Whether something is asked for that is, or is made of, a merged model."""
        return bool(self.export_dir or self.gguf or self.ollama or self.export_quantization)

    def with_places(
        self,
        beside: Path,
        *,
        merged: Path | None = None,
        gguf: Path | None = None,
        ollama: str | None = None,
    ) -> "RunSpec":
        """The same with a place for each artefact that is asked for and has none, and a name for
        Ollama's: where it was before (`merged`, `gguf`, `ollama`), or beside this folder; GGUF
        files beside a merged model whose place was named. Ollama is given what was asked for: a
        GGUF file, or the merged model; without either a GGUF file."""
        given = None if self.export_dir == Path(AUTO) else self.export_dir
        named = given or beside
        places: dict[str, Any] = {}
        if self.wants_merged:
            made = merged or beside.with_name(f"{beside.name}-merged")
            places["export_dir"] = given or made
        if self.gguf or self.ollama or self.gguf_adapter:
            made = gguf or named.with_name(f"{named.name}-gguf")
            places["gguf_dir"] = self.gguf_dir or made
        if self.export_quantization:
            made = named.with_name(f"{named.name}-{self.export_quantization}")
            places["quantized_dir"] = self.quantized_dir or made
        if self.ollama == AUTO:
            places["ollama"] = ollama or ollama_name(self.title if self.names_data else beside.name)
        alone = self.ollama is not None and not self.gguf and given is None
        return self.replace(gguf=(USUAL,) if alone else self.gguf, **places)

    @property
    def names_data(self) -> bool:
        """Whether there is a dataset that what leaves the run can be named after."""
        return bool(self.data.dataset_path or self.data.mix)

    @property
    def title(self) -> str:
        """What files and models that leave the run are called: `model-data`."""
        model = Path(str(self.model_name_or_path)).name
        paths = self.data.dataset_path or tuple(self.data.mix)
        data = Path(paths[0].rstrip("/")).name.split(".")[0] if paths else ""
        return "-".join(slug(name) for name in (model, data) if name)

    @property
    def adapters_before(self) -> tuple[str, ...]:
        """The adapters that are merged into the base before the one that is trained: all that are
        named, but for the last if it is trained further (llamafactory/model/adapter.py)."""
        named = self.engine_args.get("adapter_name_or_path") or []
        adapters = named.split(",") if isinstance(named, str) else list(named)
        return tuple(adapters if self.makes_own_adapter else adapters[:-1])

    @property
    def makes_own_adapter(self) -> bool:
        """Whether an adapter that is named is merged first, and a new one trained: if the user says
        so, and of an online training always (engine/trainers/online.py)."""
        online = self.stage is not None and OBJECTIVES[self.stage].online is not None
        return online or bool(self.engine_args.get("create_new_adapter"))

    @property
    def on_first_node(self) -> bool:
        """Whether this node saves, scores and merges."""
        return self.node_rank == 0

    def engine(self, name: str, default: Any = None) -> Any:
        """The value of a pass-through argument."""
        return self.engine_args.get(name, default)

    def replace(self, **changes: Any) -> "RunSpec":
        """The same job with some settings changed."""
        return dataclasses.replace(self, **changes)
