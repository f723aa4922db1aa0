"""The commands, and which settings each of them takes."""

from collections.abc import Mapping
from dataclasses import fields, replace

from fine_tuning.cli.settings.catalogue import Catalogue, Setting, spec_settings
from fine_tuning.cli.settings.words.program import Command, option
from fine_tuning.engine.arguments.installed import EngineArgument, engine_arguments
from fine_tuning.values.spec import DataSpec
from fine_tuning.values.tables.combining import COMBINATIONS, DENSITY

FILES = (
    option("config", "path", "YAML file of settings, flat or nested", "FILE", "files"),
    option("preset", "text", "settings from configs/NAME.yaml", "NAME", "files"),
)
# Every command takes it; main.py looks for it before anything else is understood.
JSON = option(
    "json", "bool", "one object on standard output, all else on standard error", "", "output"
)
COMBINING = (
    option(
        "combine",
        "text",
        "make one adapter of several, by PEFT's way of this name",
        "WAY",
        choices=tuple(COMBINATIONS),
    ),
    option("weights", "list", "of the adapters (default: all alike, 1 in all)", "W"),
    option(
        "density",
        "float",
        f"share of the numbers that ties, dare and magnitude_prune keep (default: {DENSITY:g})",
        "SHARE",
    ),
    option(
        "svd_rank", "int", "rank of what an svd leaves (default: the largest of the adapters')", "N"
    ),
)
DATA = tuple(item.name for item in fields(DataSpec))

COMMANDS: Mapping[str, Command] = {
    command.name: command
    for command in (
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
                "system",
                "use_cpu",
                "model_name_or_path",
            ),
            words={"score_samples": "held-out rows that --gguf ladder scores (default: 100)"},
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
        Command(
            name="eval",
            runner="fine_tuning.cli.eval.command:run",
            summary="score a run, or any model, on rows, beside its base",
            about="Score the tuned and the base model of a finished run on the rows that it held "
            "out, or on a file; or any other model, with an adapter or without: loss and "
            "perplexity, exact match, BLEU and chrF, ROUGE, answers that stop, length. The "
            "difference is told by the same rows, with its 95% interval. General rows in English "
            "and Chinese, which come along, show what was forgotten.",
            examples=(
                "--output_dir out",
                "--output_dir out --dataset_path test.jsonl --report scores.json",
                "--output_dir out --gate gate.yaml --junit eval.xml",
                "--model_name_or_path BASE --adapter_name_or_path ADAPTER --dataset_path t.jsonl",
            ),
            operand="output_dir",
            usage="[RUN] [flags]",
            takes=(
                *DATA,
                "output_dir",
                "model_name_or_path",
                "template",
                "quantization",
                "use_cpu",
                "score_samples",
            ),
            words={
                "dataset_path": "rows to score (default: those that the run held out)",
                "score_samples": "rows to score (default: all)",
            },
            options=(
                option("report", "path", "write what was found as JSON", "FILE", "output"),
                option(
                    "gate",
                    "path",
                    "YAML file of bounds; one that does not hold ends with 1",
                    "FILE",
                ),
                option(
                    "metrics",
                    "list",
                    "metrics of your own: a function of question, expected and answer",
                    "FILE.py:FUNCTION",
                ),
                option(
                    "judge", "text", "OpenAI-compatible API that says which answer is better", "URL"
                ),
                option("judge_model", "text", "model of the judge (default: its first)", "NAME"),
                option("rubric", "text", "what the judge is to look at", "TEXT"),
                option("tasks", "list", "benchmarks of lm-evaluation-harness, by name", "TASK"),
                option("tasks_dir", "path", "folder with tasks of your own for it", "DIR"),
                option("junit", "path", "write the gate's lines as JUnit XML", "FILE", "output"),
                option(
                    "forgetting",
                    "bool",
                    "score the general rows too (default: where there is a base model)",
                ),
                option(
                    "max_new_tokens",
                    "int",
                    "tokens of an answer (default: twice the longest expected one)",
                    "N",
                ),
            ),
            passes=True,
        ),
        Command(
            name="chat",
            runner="fine_tuning.cli.chat.command:run",
            summary="speak with a tuned model, its base, or any other",
            about="Ask the model of a finished run as it was trained: by the same chat template "
            "and in the same precision. In a terminal it is a conversation (/help lists its "
            "commands: /compare shows base and tuned side by side); with --prompt, or with a "
            "question on standard input, only the answer goes to standard output. Or any other "
            "model, and adapters that were trained elsewhere: /adapter switches between them.",
            examples=(
                "--output_dir out",
                "--output_dir out --prompt 'What is a shard?' > answer.txt",
                "--model_name_or_path BASE --adapter_name_or_path ADAPTER --temperature 0.7",
                "--adapter_name_or_path A B C --combine cat --weights 0.5 0.3 0.2",
                "--output_dir out --port 8000",
            ),
            operand="output_dir",
            usage="[RUN] [flags]",
            takes=("output_dir", "model_name_or_path", "template", "quantization", "use_cpu"),
            options=(
                *COMBINING,
                option("prompt", "text", "answer this and end", "TEXT"),
                option("system", "text", "system prompt", "TEXT"),
                option(
                    "temperature",
                    "float",
                    "draw tokens at this temperature (default: 0, always the likeliest)",
                    "T",
                ),
                option(
                    "top_p",
                    "float",
                    "draw among the likeliest tokens with this share (default: 1, all)",
                    "P",
                ),
                option("max_new_tokens", "int", "tokens of an answer (default: 1024)", "N"),
                option(
                    "history",
                    "bool",
                    "keep what was typed for the arrow keys of later chats (default: yes; "
                    "--no_history)",
                ),
                option(
                    "port",
                    "int",
                    "serve the model here, by LLaMA-Factory's OpenAI-compatible API",
                    "PORT",
                    "launch",
                ),
                option(
                    "host",
                    "text",
                    "address to listen on (default: 127.0.0.1, this machine only)",
                    "HOST",
                    "launch",
                ),
            ),
            passes=True,
        ),
        Command(
            name="score",
            runner="fine_tuning.cli.score:run",
            summary="what a reward model gives each row of a file",
            about="Let a reward model read every conversation of a file: an exported one (or any "
            "sequence classifier with one label), or that of a run of --stage rm. Of pairs it "
            "scores both answers, and says who wins.",
            examples=(
                "--model_name_or_path reward-model --dataset_path pairs.jsonl --report scores.json",
                "--output_dir runs/rm --dataset_path chats.jsonl --report scores.json",
            ),
            operand="dataset_path",
            usage="[FILE ...] [flags]",
            takes=(*DATA, "output_dir", "model_name_or_path", "use_cpu"),
            options=(
                option("report", "path", "write the score of each row as JSON", "FILE", "output"),
            ),
            passes=True,
        ),
        Command(
            name="prove",
            runner="fine_tuning.cli.shipping.prove:run",
            summary="whether what is served is what was trained",
            about="Ask whatever serves a model the conversations of the run's contract.json, and "
            "compare prompts, answers, their ends and log-probabilities. Without a target it asks "
            "the run itself. Exit code 1: it drifts by more than its number format explains.",
            examples=(
                "--output_dir out --model_name_or_path merged",
                "--output_dir out --gguf model-q8_0.gguf --report proof.json",
                "--output_dir out --url http://127.0.0.1:8000 --served_model my-model",
                "--model_name_or_path MODEL --record contract.json",
                "--adapter_name_or_path runs/a runs/b",
            ),
            operand="output_dir",
            usage="[RUN] [flags]",
            takes=("output_dir", "model_name_or_path", "template", "quantization", "use_cpu"),
            options=(
                *COMBINING,
                option("contract", "path", "another contract than that of the run", "FILE"),
                option("gguf", "path", "compare a GGUF file, served by llama.cpp", "FILE"),
                option("gguf_adapter", "path", "a LoRA adapter as a GGUF file, upon it", "FILE"),
                option(
                    "url",
                    "text",
                    "compare a running server: llama.cpp, vLLM, Ollama, or any with OpenAI's chat",
                    "URL",
                ),
                option("served_model", "text", "name by which the server knows it", "NAME"),
                option(
                    "dtype",
                    "text",
                    "number format of the target, if it does not tell (float16, q4_k_m, ...)",
                    "NAME",
                ),
                option("record", "path", "write a contract of a model that others trained", "FILE"),
                option("report", "path", "write what was compared as JSON", "FILE", "output"),
            ),
            passes=True,
        ),
        Command(
            name="download",
            runner="fine_tuning.cli.download:run",
            summary="a hub's model or dataset into a directory",
            about="Download a model or a dataset into a directory, which then serves as "
            "--model_name_or_path or --dataset_path. A repeated command fetches only what is not "
            "whole. HF_ENDPOINT names a mirror, USE_MODELSCOPE_HUB=1 means ModelScope.",
            examples=(
                "--model_name_or_path Qwen/Qwen3-0.6B --output_dir qwen3",
                "--dataset_path me/rows --output_dir rows --include '*.jsonl'",
            ),
            operand="model_name_or_path",
            usage="[MODEL] [flags]",
            takes=("model_name_or_path", "dataset_path", "dataset_revision"),
            options=(
                option("output_dir", "path", "directory for the files", "DIR", "output"),
                option("model_revision", "text", "branch, tag or commit of a model", "REV"),
                option(
                    "include",
                    "list",
                    "files to download (default: what Transformers loads; of a dataset all)",
                    "PATTERN",
                ),
                option("exclude", "list", "files to leave out", "PATTERN"),
            ),
        ),
        Command(
            name="push",
            runner="fine_tuning.cli.shipping.push:run",
            summary="a run's adapter or a merged model to the Hub",
            about="Upload the adapter of a finished run, or a merged model, to the Hugging Face "
            "Hub, with a card that says what it is. The repository is private unless --public. "
            "The token is taken from HF_TOKEN or the login (`hf auth login`).",
            examples=(
                "--output_dir out --repo_id me/my-adapter --dry_run",
                "--output_dir out --export_dir merged --repo_id me/my-model",
            ),
            operand="output_dir",
            usage="[RUN] [flags]",
            takes=("output_dir",),
            options=(
                option("repo_id", "text", "the repository", "OWNER/NAME"),
                option("export_dir", "path", "send this merged model", "DIR"),
                option(
                    "base_model",
                    "text",
                    "name of the base model on the Hub, if the run had it from a directory",
                    "OWNER/NAME",
                ),
                option("public", "bool", "make the repository readable by everybody"),
                option("dry_run", "bool", "list the files, print the card, and send nothing"),
            ),
        ),
        Command(
            name="runs",
            runner="fine_tuning.cli.runs.listing:run",
            summary="list runs; compare, reproduce, watch them",
            about="List the runs below a directory (default: runs), the newest first: state, "
            "model, data, method, scores, time. `runs compare`, `runs reproduce` and `runs watch` "
            "look closer (each has its --help).",
            examples=("", "experiments --json"),
            takes=(),
            operand=option("directory", "list", "directory to look below", "DIR"),
            usage="[DIR] [flags]",
        ),
        Command(
            name="runs compare",
            runner="fine_tuning.cli.runs.compare:run",
            summary="what differs in runs, and how their scores differ",
            about="Show what differs in settings, data and package versions of two runs or more, "
            "and how the scores of each differ from the first one's: paired, where the held-out "
            "rows are the same. A page shows the curves over each other.",
            examples=("runs/a runs/b", "runs/a runs/b runs/c --page abc.html"),
            takes=("lang",),
            options=(
                option(
                    "page",
                    "path",
                    "write the page here (default: compare.html beside the first run)",
                    "FILE",
                ),
            ),
            operand=option("run", "list", "folder of a run", "RUN"),
            usage="RUN RUN ... [flags]",
        ),
        Command(
            name="runs reproduce",
            runner="fine_tuning.cli.runs.reproduce:run",
            summary="the command of a run, and what differs here",
            about="Print the command that makes a run again, with what was chosen for it, and what "
            "differs on this machine: versions, data and base model by their hashes, devices. "
            "--verify trains the first steps again, in a temporary folder, and compares losses "
            "and weights; the run itself is only read.",
            examples=("runs/a", "runs/a --verify"),
            takes=(),
            options=(
                option("verify", "bool", "train the first steps again and compare"),
                option(
                    "steps",
                    "int",
                    "steps that --verify trains (default: to the first whose weights the run "
                    "kept the hashes of)",
                    "N",
                ),
            ),
            operand=option("run", "list", "folder of a run", "RUN"),
            usage="RUN [flags]",
        ),
        Command(
            name="runs watch",
            runner="fine_tuning.cli.runs.watch:run",
            summary="follow a run from another terminal",
            about="Follow a run that is at work, until it ends; the exit code is then the run's. "
            "Ctrl-C ends the watching, and leaves the run alone.",
            examples=("runs/a",),
            takes=(),
            operand=option("run", "list", "folder of a run", "RUN"),
            usage="RUN [flags]",
        ),
        Command(
            name="webui",
            runner="fine_tuning.cli.webui:run",
            summary="LLaMA Board over the same data, in the browser",
            about="Start LLaMA-Factory's web interface on this machine. It lists the datasets "
            "that runs have prepared, and the bundled samples. Beside it a page lists the runs, "
            "with the report of each.",
            examples=("", "--port 8000 --dataset_dir data"),
            takes=("dataset_dir",),
            words={"dataset_dir": "folder of the prepared datasets (default: data)"},
            options=(
                option(
                    "host",
                    "text",
                    "address to listen on (default: 127.0.0.1, this machine only)",
                    "HOST",
                    "launch",
                ),
                option(
                    "port", "int", "port (default: 7860, or a free one if taken)", "PORT", "launch"
                ),
                option(
                    "runs_dir",
                    "path",
                    "folder of the runs to list (default: runs)",
                    "DIR",
                    "launch",
                ),
            ),
        ),
        Command(
            name="doctor",
            runner="fine_tuning.cli.doctor:run",
            summary="test the environment",
            about="Test what a run needs: packages and their versions, devices, memory, disk, "
            "network. Each line says what to do next.",
            examples=("", "--output_dir /data/runs --use_cpu"),
            takes=("output_dir", "dataset_dir", "use_cpu"),
            words={"output_dir": "where runs are to lie (default: runs)"},
        ),
    )
}


def catalogue(command: Command) -> Catalogue:
    """The settings that a command takes, and which command takes the others."""
    everything = spec_settings()
    takes = everything if command.takes is None else command.takes
    settings = {item.name: item for item in command.options}
    settings |= {name: in_words_of(command, it) for name, it in everything.items() if name in takes}
    settings["json"] = JSON
    elsewhere: dict[str, str] = {}
    for other in COMMANDS.values():
        for name in (item.name for item in other.options if item not in FILES):
            before = f"{elsewhere[name]}` or `" if name in elsewhere else ""
            elsewhere[name] = before + other.name
    elsewhere |= dict.fromkeys(everything, "run")
    return Catalogue(
        settings=settings,
        engine=_passed_through if command.passes else _no_arguments,
        elsewhere={name: other for name, other in elsewhere.items() if name not in settings},
        operand=settings[command.operand] if isinstance(command.operand, str) else command.operand,
    )


def in_words_of(command: Command, setting: Setting) -> Setting:
    """A setting of a run with the help that it has in this command."""
    if command.takes is None:
        return setting
    said = command.words.get(setting.name) or setting.elsewhere or setting.help
    return replace(setting, help=said)


def file_catalogue(command: Command) -> Catalogue:
    """The settings that a settings file of a command may hold: also those of a run, so that one
    file serves both."""
    everything = catalogue(COMMANDS["run"])
    settings = {**everything.settings, **catalogue(command).settings}
    del settings["json"]  # of a command line alone
    return Catalogue(
        settings=settings,
        engine=engine_arguments,
        elsewhere={},
    )


def _passed_through() -> Mapping[str, EngineArgument]:
    """The engine's arguments but for those that are settings of ours, by the same name: they must
    not reach the engine past a command that does not take them."""
    ours = spec_settings()
    return {name: known for name, known in engine_arguments().items() if name not in ours}


def _no_arguments() -> Mapping[str, EngineArgument]:
    return {}
