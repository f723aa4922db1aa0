"""What the end of a run says: where everything is, and what to type next."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shlex import quote

from fine_tuning import report
from fine_tuning.cli.settings.commands import program
from fine_tuning.paths import shown
from fine_tuning.report.facts import RunFacts
from fine_tuning.report.loading import chat_command
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.values.record import RunRecord, result_of

ENGINE = "llamafactory-cli"


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
    facts = seen_from_here(report.collect(run_dir, record))
    merged = facts.merged_path
    yield f"{'Adapter' if facts.adapter_path else 'Model'}: {shown(run_dir)}"
    if merged is not None:
        yield f"Merged model: {merged}"
    if facts.chat and _answers(record) and (facts.adapter_path or merged):
        yield f"Talk to it:\n    {chat_command(facts, engine_program())}"
    if merged is None and facts.adapter_path:
        place = quote(shown(run_dir))
        target = quote(f"{shown(run_dir)}-merged")
        words = [f"{program()} export", f"--output_dir {place}", f"--export_dir {target}"]
        yield "Merge it:\n    " + " \\\n    ".join(words)


def seen_from_here(facts: RunFacts) -> RunFacts:
    """The same with paths that are relative where they lie below the working directory."""
    base, adapter, merged = facts.base_model, facts.adapter_path, facts.merged_path
    return replace(
        facts,
        base_model=shown(Path(base)) if Path(base).is_dir() else base,
        adapter_path=adapter and Path(shown(adapter)),
        merged_path=merged and Path(shown(merged)),
    )


def _answers(record: RunRecord) -> bool:
    """Whether it is a model that writes: a reward model gives numbers."""
    plan = result_of(record.stages.plan)
    return plan is not None and plan.rows.stage != "rm"


def engine_program() -> str:
    """LLaMA-Factory's command as it can be typed: beside this Python, if no shell finds it."""
    beside = Path(sys.executable).with_name(ENGINE)
    return quote(str(beside)) if shutil.which(ENGINE) is None and beside.exists() else ENGINE
