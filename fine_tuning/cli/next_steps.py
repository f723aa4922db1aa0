"""What the end of a run says: where everything is, and what to type next."""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from fine_tuning import report
from fine_tuning.cli.settings.program import program_here
from fine_tuning.paths import shown
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record


def what_is_next(run_dir: Path) -> Iterator[str]:
    """Lines for the end of a run that was done: its parts, how to talk to it, how to merge it.

    Commands are broken where a shell reads on, so that a narrow terminal does not break them.
    """
    record = read_record(RunFolder(run_dir))
    if record is None:
        return
    if record.status == "dry_run":
        yield "Nothing was trained: the same command without --dry_run trains."
    if record.status != "done":
        return
    facts = report.collect(run_dir, record)
    yield f"{'Adapter' if facts.adapter_path else 'Model'}: {shown(run_dir)}"
    if facts.merged_path is not None:
        yield f"Merged model: {shown(facts.merged_path)}"
    for path in facts.gguf_paths:
        yield f"GGUF file: {shown(path)}"
    if facts.ollama_model:
        yield f"In Ollama: ollama run {facts.ollama_model}"
    place = quote(shown(run_dir))
    if not facts.reward_model:
        yield f"Talk to it:\n    {program_here()} chat --output_dir {place}"
    if facts.merged_path is None and facts.adapter_path:
        target = quote(f"{shown(run_dir)}-merged")
        words = [f"{program_here()} export", f"--output_dir {place}", f"--export_dir {target}"]
        yield "Merge it:\n    " + " \\\n    ".join(words)
