"""Commands that speak with a hub."""

from fine_tuning.cli.settings.words.program import Command, option

SHARING = (
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
)
