"""Everything the report page shows, as plain values.

All fields have defaults, so that a run that stopped early or failed still gets its page: what is
not known is left out of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fine_tuning.ledger import Findings
from fine_tuning.values.answers.evaluation import RowsBeside
from fine_tuning.values.answers.ladder import Ladder
from fine_tuning.values.answers.scores import Score
from fine_tuning.values.record import Link, Status
from fine_tuning.values.results import Failure, Proof, Quantized, RewardProof
from fine_tuning.values.shown import Choice, MaskedRow, ProblemGroup


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """What became of one file's rows: read == kept + dropped."""

    path: str
    read: int
    kept: int
    dropped: int = 0
    format: str = ""
    encoding: str = ""
    evidence: str = ""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Token lengths of all rows; `bins` are (from, to, rows) with `to` exclusive.

    `percentiles` maps names to tokens, in the order shown (p50, p90, p99, max).
    """

    bins: tuple[tuple[int, int, int], ...] = ()
    percentiles: Mapping[str, int] = field(default_factory=dict)
    cutoff: int | None = None
    over_cutoff: int = 0
    cutoff_costs: Mapping[int, int] = field(default_factory=dict)  # other cutoff -> rows over it
    unit: str = "tokens"


@dataclass(frozen=True, kw_only=True)
class DataAccount:
    """The dataset from reading to what the engine encoded; each row is counted once."""

    format: str = ""
    evidence: str = ""
    files: tuple[FileRows, ...] = ()
    rows_read: int = 0
    rows_kept: int = 0
    rows_dropped: int = 0
    problems: tuple[ProblemGroup, ...] = ()
    findings: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, int] = field(default_factory=dict)  # training, validation -> rows
    split_dropped: Mapping[str, int] = field(default_factory=dict)  # reason -> rows
    overlong: Mapping[str, int] = field(default_factory=dict)  # outcome -> rows
    lengths: Lengths | None = None
    engine_expected: int | None = None
    engine_counted: int | None = None
    engine_unit: str = "rows"  # or the blocks that text is cut into
    rejected_path: str = ""
    report_path: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What the trainer logged at one step; None where it logged nothing."""

    step: int
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    eval_loss: float | None = None
    reward: float | None = None
    kl: float | None = None  # nats a token from the model as it was
    answer_tokens: float | None = None  # mean of the sampled answers
    tokens_per_second: float | None = None  # of the steps since the last log
    gpu_memory: float | None = None  # bytes that were allocated at most
    process_memory: float | None = None  # bytes of the training process, on a CPU


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One held-out row, answered by the base model and by the tuned one."""

    prompt: str
    expected: str
    before: str | None = None
    after: str | None = None
    correct_before: bool | None = None
    correct_after: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Rows with both answers, those that moved most first; `general` is the change of the general
    rows, of which the losses alone are known (None: they were not measured)."""

    gained: tuple[RowsBeside, ...] = ()
    lost: tuple[RowsBeside, ...] = ()
    endless: tuple[RowsBeside, ...] = ()  # the tuned model did not end its answer
    answered: int = 0
    general: Score | None = None
    forgotten: tuple[RowsBeside, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TokenDifference:
    """One row as token texts: as it is trained, and as the tokenizer's own chat template has it."""

    row: str
    trained: tuple[str, ...]
    served: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Whether LLaMA-Factory's template and the tokenizer's own make the same tokens."""

    equal: bool | None = None
    rows_compared: int = 0
    message: str = ""
    differences: tuple[TokenDifference, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """One file or folder that the run made."""

    path: str
    size: int | None = None
    what: str = ""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """One run, from its settings to its artefacts."""

    title: str = "Fine-tuning run"
    subject: tuple[str, str] | None = None  # the model and the data, if the run got so far
    status: Status = "done"
    failure: Failure | None = None
    log: str = ""  # the engine's whole output
    command: str = ""
    created: str = ""
    step: int = 0  # the last that was saved
    steps: int = 0  # that were planned
    durations: Mapping[str, float] = field(default_factory=dict)  # stage -> seconds
    settings: tuple[Choice, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)  # of the base model and the data files
    device: str = ""
    warnings: tuple[str, ...] = ()
    base_model: str = ""
    method: str = ""
    template: str = ""  # LLaMA-Factory's name; empty if it reads the tokenizer's own
    chat: bool = True  # False for a model of plain text, which has no chat template
    encoded_ahead: bool = False  # by the model's own chat template: LLaMA-Factory's are not it
    switched_off: tuple[str, ...] = ()  # switches of the chat template that were off in training
    parity: Parity | None = None
    data: DataAccount | None = None
    curves: tuple[CurvePoint, ...] = ()
    scores: tuple[Score, ...] = ()
    samples: tuple[Sample, ...] = ()
    moved: Moved | None = None  # None: nothing was scored before and after
    row_losses: Findings | None = None  # None: no ledger was kept
    masked: tuple[MaskedRow, ...] = ()
    adapter_path: Path | None = None
    adapters_before: tuple[str, ...] = ()  # that were merged into the base before this one
    model_path: Path | None = None  # of a training that leaves a whole model
    virtual_tokens: bool = False  # which stay apart from the base: nothing merges them
    reward_model: bool = False  # it scores conversations, and says nothing
    merged_path: Path | None = None
    gguf_paths: tuple[Path, ...] = ()
    quantized: Quantized | None = None  # for GPU servers
    quantized_scores: tuple[Score, ...] = ()  # beside the merged model's
    ladder: Ladder | None = None  # several sizes, measured
    ollama_model: str = ""  # its name, if Ollama has it
    proof: Proof | None = None
    rewards: RewardProof | None = None
    chain: tuple[Link, ...] = ()  # the runs before this one, and this one
    artefacts: tuple[Artefact, ...] = ()
    train_yaml: Path | None = None


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What `validate` found: the account, and with a tokenizer what would be trained."""

    data: DataAccount
    title: str = "Data report"
    template: str = ""
    parity: Parity | None = None
    masked: tuple[MaskedRow, ...] = ()
    warnings: tuple[str, ...] = ()
