"""Commands that ask a model something."""

from fine_tuning.cli.settings.table.shared import ANSWERED, COMBINING, DATA
from fine_tuning.cli.settings.words.program import Command, option

ASKING = (
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
                "limit of an answer (default: twice the longest expected one; 512 without any)",
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
        runner="fine_tuning.cli.eval.score:run",
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
        takes=(*ANSWERED, "output_dir", "model_name_or_path", "use_cpu"),
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
)
