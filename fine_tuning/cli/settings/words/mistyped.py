"""What people type that is no command: which one they mean, or where it is found."""

from collections.abc import Mapping

# Other words for the commands, and what people look for that is no command: where it is found.
SAME = {
    "merge": "export",
    "train": "run",
    "check": "validate",
    "board": "webui",
    "ui": "webui",
    "upload": "push",
    "publish": "push",
    "pull": "download",
    **dict.fromkeys(("infer", "inference", "generate"), "chat"),
    **dict.fromkeys(("evaluate", "predict", "test"), "eval"),
    **dict.fromkeys(("list", "ls", "status"), "runs"),
    "compare": "runs compare",
    "watch": "runs watch",
}
API = "llamafactory-cli api --model_name_or_path MERGED_DIR"
ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(
        ("serve", "api"),
        f"`chat` speaks with the model of a run; LLaMA-Factory serves one: `{API}`.",
    ),
    **dict.fromkeys(
        ("ollama", "modelfile"),
        "`export --output_dir RUN --ollama my-model` gives a run's model to Ollama; so does `run "
        "--ollama my-model`.",
    ),
    **dict.fromkeys(
        ("resume", "continue"), "Repeat the command of the run: it goes on where it stopped."
    ),
    "report": "`run` writes report.html into its --output_dir; `validate --report FILE.json` "
    "writes one of the data alone.",
    "demo": "Without flags, `run` trains the bundled demo model on the bundled sample.",
    **dict.fromkeys(
        ("quantize", "quantise", "gguf", "convert"),
        "`export --output_dir RUN --gguf q8_0` writes a run's merged model for llama.cpp and "
        "Ollama (q4_k_m and others too; so does `run --gguf q8_0`), --export_quantization gptq, "
        "awq or fp8 for GPU servers. To train on a quantised base is another thing: "
        "--quantization 4bit.",
    ),
}
