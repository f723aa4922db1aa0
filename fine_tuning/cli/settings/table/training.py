"""Commands that look at data, and train, merge and convert."""

from fine_tuning.cli.settings.table.shared import COMBINING, DATA, FILES
from fine_tuning.cli.settings.words.program import Command, option

TRAINING = (
    Command(
        name="run",
        runner="fine_tuning.cli.run:run",
        summary="the whole job: check, train, score, merge, report",
        about="Fine-tune a model on a dataset. Without --model_name_or_path it takes the "
        "bundled demo model, without --dataset_path the bundled sample.",
        examples=(
            "--model_name_or_path Qwen/Qwen3-0.6B --dataset_path my.json --output_dir out",
            "--dataset_format alpaca --quantization 4bit",
            "--preset qlora-4bit --dataset_path my.json --epochs 1 --dry_run",
        ),
        takes=None,
        options=FILES,
        passes=True,
    ),
    Command(
        name="validate",
        runner="fine_tuning.cli.data.token_check:validate",
        summary="check a dataset; needs no model and no GPU",
        about="Read every row, say which are usable and what is wrong with the others.",
        examples=(
            "--dataset_path my.json --report report.json",
            "--ledger out",
            "--dataset_path my.json --model_name_or_path Qwen/Qwen3-0.6B --show longest",
            "--config run.yaml --report report.json",
        ),
        operand="dataset_path",
        usage="[FILE ...] [flags]",
        takes=(
            *DATA,
            "val_dataset_path",
            "model_name_or_path",
            "template",
            "max_seq_length",
            "overlong",
            "stage",
            "lang",
        ),
        options=(
            *FILES,
            option("report", "path", "write the report as JSON", "FILE", "output"),
            option(
                "show",
                "list",
                "rows to print with trained and masked text apart: a number of them, longest, "
                "truncated, or a row as #12 (with --model_name_or_path)",
                "ROWS",
                "output",
            ),
            option(
                "ledger",
                "path",
                "of a finished run: write the rows that were never learned, or made worse, to "
                "a file to look through, in place of a check",
                "RUN",
                "output",
            ),
        ),
    ),
    Command(
        name="export",
        runner="fine_tuning.cli.shipping.export:run",
        summary="merge a finished run, or any adapters, into a model",
        about="Merge the adapter of a finished run into its base model, with the settings that "
        "it was trained with; or adapters that were trained elsewhere: one, several one upon "
        "the other, or several combined to one.",
        examples=(
            "--output_dir out --export_dir merged",
            "--output_dir out --adapter_dir adapter",
            "--output_dir out --checkpoint best --export_dir merged-best",
            "--output_dir out --export_dir merged --merge_in shards --export_size 2",
            "--output_dir out --gguf q8_0 q4_k_m",
            "--output_dir out --gguf ladder",
            "--output_dir out --export_quantization gptq",
            "--output_dir out --ollama my-model --system 'Answer briefly.'",
            "--model_name_or_path MODEL --gguf q4_k_m",
            "--model_name_or_path BASE --adapter_name_or_path ADAPTER --export_dir merged",
            "--adapter_name_or_path A B --combine cat --weights 0.7 0.3 --combined_dir both",
        ),
        operand="output_dir",
        usage="[RUN] [flags]",
        takes=(
            "output_dir",
            "export_dir",
            "checkpoint",
            "merge_in",
            "gguf",
            "gguf_adapter",
            "gguf_dir",
            "score_samples",
            "llama_cpp",
            "ollama",
            "export_quantization",
            "quantized_dir",
            "llm_compressor",
            "system",
            "use_cpu",
            "model_name_or_path",
        ),
        words={
            "score_samples": "held-out rows that --gguf ladder and --export_quantization score "
            "(default: 100)"
        },
        options=(
            *FILES,
            *COMBINING,
            option(
                "adapter_dir",
                "path",
                "write the run's adapter alone here, with tokenizer and card",
                "DIR",
            ),
            option("combined_dir", "path", "keep the combined adapter here", "DIR"),
        ),
        passes=True,
    ),
)
