"""Which model a command is asked about: that of a run, or one that is named."""

from collections.abc import Collection

from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.engine.loading import MODEL_ARGUMENTS

# Of the engine's arguments those that decide which model is loaded, and how it is asked.
HEARD = (*MODEL_ARGUMENTS, "adapter_name_or_path", "enable_thinking")


def source_mistakes(
    job: Resolved, *, beside: Collection[str] = (), what: str, several: bool = False
) -> list[str]:
    """What is unclear about the model that is meant; `beside` names settings that go with a run
    too, `what` the command in a sentence, `several` adapters may be given."""
    folder, adapter = job.spec.output_dir, job.spec.engine_args.get("adapter_name_or_path")
    mistakes = []
    if folder is None and not adapter and not job.spec.model_name_or_path:
        mistakes.append(
            "Which model? --output_dir is the folder of a finished run; --model_name_or_path is "
            "any model, --adapter_name_or_path an adapter that was trained on it."
        )
    if folder is not None:
        known = sorted(set(job.sources) - {"output_dir", "use_cpu", *beside})
        mistakes += [
            f"--{name} goes with --model_name_or_path: the run in {folder} knows its own."
            for name in known
        ]
    mistakes += [
        f"--{name} changes nothing in {what}: leave it out."
        for name in sorted(set(job.spec.engine_args) - set(HEARD))
        if folder is None
    ]
    if adapter and "," in str(adapter) and not several:
        mistakes.append("--adapter_name_or_path takes one adapter here.")
    return mistakes
