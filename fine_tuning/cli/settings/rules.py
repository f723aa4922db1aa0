"""What is refused of our own settings before anything starts; the engine's arguments have rules of
their own (engine/arguments/rules.py)."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from fine_tuning.cli.settings.catalogue import did_you_mean
from fine_tuning.engine.arguments.rules import Asked, Rule, refused
from fine_tuning.values.tables.gguf import OLLAMA_NAME

RANGES: tuple[Rule, ...] = (
    (
        lambda job: (
            job.spec.data.text_column is not None
            and job.spec.data.dataset_format not in ("auto", "text", "rendered")
        ),
        "--text_column goes with --dataset_format text; --columns names the columns of others.",
    ),
    (lambda job: job.spec.lora_rank < 1, "--lora_rank must be at least 1."),
    (
        lambda job: job.spec.lora_alpha is not None and job.spec.lora_alpha < 1,
        "--lora_alpha must be at least 1.",
    ),
    (lambda job: job.spec.epochs <= 0, "--epochs must be above 0."),
    (
        lambda job: job.spec.batch_size is not None and job.spec.batch_size < 1,
        "--batch_size must be at least 1.",
    ),
    (
        lambda job: job.spec.learning_rate is not None and not 0 < job.spec.learning_rate < 1,
        "--learning_rate must lie between 0 and 1, for example 1e-4.",
    ),
    (
        lambda job: job.spec.max_seq_length is not None and job.spec.max_seq_length < 8,
        "--max_seq_length must be at least 8 tokens.",
    ),
    (
        lambda job: job.spec.val_size < 0 or job.spec.val_size == 1,
        "--val_size is a share below 1 or a number of rows from 2 on; 0 holds nothing out.",
    ),
    (
        lambda job: job.spec.val_size > 1 and job.spec.val_size != int(job.spec.val_size),
        "--val_size above 1 is a number of rows, so it must be whole.",
    ),
    (
        lambda job: not 0 <= job.spec.data.max_bad_rows <= 1,
        "--max_bad_rows is a share between 0 and 1, for example 0.1.",
    ),
    (
        lambda job: job.spec.ollama is not None and not OLLAMA_NAME.fullmatch(job.spec.ollama),
        "--ollama takes a name as Ollama has them, for example my-model or me/my-model:latest.",
    ),
    (
        lambda job: job.spec.system is not None and job.spec.ollama is None,
        "--system is the system prompt of a model in Ollama: add --ollama NAME.",
    ),
    (lambda job: job.spec.score_samples < 0, "--score_samples must be 0 or more."),
    (
        lambda job: not 0 <= job.spec.seed < 2**32,
        "--seed must lie between 0 and 4294967295.",
    ),
    (
        lambda job: job.spec.master_port is not None and not 0 < job.spec.master_port < 65536,
        "--master_port must lie between 1 and 65535.",
    ),
    (
        lambda job: job.spec.engine("max_steps", -1) < 1 and job.spec.engine("max_steps", -1) != -1,
        "--max_steps must be at least 1; leave it out to train by --epochs.",
    ),
    (lambda job: job.spec.nnodes < 1, "--nnodes must be at least 1."),
    (
        lambda job: not 0 <= job.spec.node_rank < max(job.spec.nnodes, 1),
        "--node_rank counts from 0 and must be below --nnodes.",
    ),
    (
        lambda job: job.spec.nproc_per_node is not None and job.spec.nproc_per_node < 1,
        "--nproc_per_node must be at least 1.",
    ),
    (
        lambda job: job.spec.data.num_workers is not None and job.spec.data.num_workers < 1,
        "--num_workers must be at least 1.",
    ),
)


def broken(job: Asked) -> list[str]:
    """Every rule that the job breaks."""
    return [
        *(message for applies, message in RANGES if applies(job)),
        *refused(job),
        *_unknown_columns(job.spec.data.columns),
    ]


def _unknown_columns(columns: Mapping[str, str]) -> list[str]:
    """A left side of --columns that no format reads would have no effect."""
    if not columns:
        return []
    from fine_tuning.dataset.recognise.formats import (
        all_formats,  # --help must not read the formats
    )

    reads = {
        name for form in all_formats().values() for its in form.columns.values() for name in its
    }
    return [
        f"--columns {ours}={yours}: no format has a column {ours!r}.{_instead(ours, yours, reads)}"
        for ours, yours in columns.items()
        if ours not in reads
    ]


def _instead(ours: str, yours: str, reads: Collection[str]) -> str:
    if yours in reads:
        return f" Our name stands first: {yours}={ours}."
    nearest = did_you_mean(get_close_matches(ours, sorted(reads), n=1), "")
    return f"{nearest} Names are for example instruction, input, output, messages, chosen, label."
