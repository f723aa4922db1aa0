"""`push`: the adapter or model of a finished run, or a merged model, to the Hugging Face Hub."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from fine_tuning import report
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.run import end_like_ctrl_c
from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.disk import hashes
from fine_tuning.errors import UsageError
from fine_tuning.hubs.refused import require_upload
from fine_tuning.hubs.sites import on_modelscope
from fine_tuning.run.folder import RunFolder
from fine_tuning.run.record_file import read_record
from fine_tuning.screen import Screen, downloading
from fine_tuning.ship.hub.card import MARK, Base, Card, card_text
from fine_tuning.ship.hub.upload import Sent, chosen, push
from fine_tuning.ship.weights import warning_of_names
from fine_tuning.stages.shipping.card import CARD, base_of, loading, local_card
from fine_tuning.units import bytes_text
from fine_tuning.values.record import RunRecord, result_of

DAMAGED = "train or merge it again"


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What went to the Hub, or with --dry_run would go."""

    repo_id: Annotated[str, "the repository"]
    sent: Annotated[bool, "false: nothing was, because of --dry_run"]
    files: Annotated[Mapping[str, int], "name -> bytes"]
    stay: Annotated[tuple[str, ...], "files of the folder that are not sent"]
    card: Annotated[str, "the text of README.md"]
    notes: Annotated[tuple[str, ...], "what the Hub answered"] = ()


def run(job: Resolved) -> Outcome[Pushed]:
    """List what is sent, and send it unless --dry_run."""
    require_source(job)
    end_like_ctrl_c()
    run_dir, repo_id = job.spec.output_dir, str(job.options["repo_id"])
    record = finished(run_dir) if run_dir else None
    folder = Path(job.options["export_dir"] or str(run_dir))
    require_whole(folder, run_dir, record)
    base = base_of(record, job.options["base_model"])
    is_adapter = (folder / "adapter_config.json").is_file()
    sent, others = chosen(folder, base, is_adapter=is_adapter)
    stay = [name for name in others if name != CARD]
    text = card_text(
        Card(
            repo_id=repo_id,
            is_adapter=is_adapter,
            base=base,
            record=record,
            scores=report.score_lines(run_dir) if run_dir else (),
            loading=loading(run_dir, record, repo_id, base, is_adapter=is_adapter),
        )
    )
    own = local_card(folder) if folder != run_dir else None
    known = record is not None or job.options["base_model"]
    if own is not None and (MARK not in own or not known):
        text = own  # somebody wrote it, or it says more than is known here
    sent.append(Sent(CARD, text.encode()))
    if not job.options["dry_run"]:
        require_upload("push", "look with --dry_run, which sends nothing")
    told = Pushed(
        repo_id=repo_id,
        sent=False,
        files={file.name: file.size for file in sent},
        stay=tuple(stay),
        card=text,
    )
    with open_screen() as screen:
        if is_adapter and (warning := warning_of_names(folder, location_of(record))):
            screen.warn(warning)
        show(screen, repo_id, sent, stay, base)
        if job.options["dry_run"]:
            screen.file(Path(CARD), text)
            screen.say(f"Nothing was sent to {repo_id}.")
            return Outcome(told)
        with downloading(screen, "push", repo_id) as on_bytes:
            notes = push(sent, repo_id, public=bool(job.options["public"]), on_bytes=on_bytes)
        for note in notes:
            screen.say(note)
    return Outcome(replace(told, sent=True, notes=tuple(notes)))


def require_source(job: Resolved) -> None:
    """Raise UsageError unless it is clear what to send, and where to."""
    mistakes = []
    if job.spec.output_dir is None and job.options["export_dir"] is None:
        mistakes.append(
            "--output_dir is needed: the folder of a finished run; or --export_dir, a merged model."
        )
    if not job.options["repo_id"]:
        mistakes.append("--repo_id is needed: the repository as owner/name.")
    if on_modelscope():
        mistakes.append(
            "push sends to the Hugging Face Hub, and USE_MODELSCOPE_HUB is set: unset it, or use "
            "`modelscope upload`."
        )
    for name in (job.spec.output_dir, job.options["export_dir"]):
        if name is not None and not name.is_dir():
            mistakes.append(f"There is no folder {name}.")
    if mistakes:
        raise UsageError(mistakes)


def finished(folder: Path) -> RunRecord:
    """The record of a run whose training has come to its end; UsageError for any other folder."""
    record = read_record(RunFolder(folder))
    if record is None:
        raise UsageError(
            f"{folder} holds no run (run.json).",
            fix="a merged model is given with --export_dir",
        )
    if not record.is_trained:
        raise UsageError(
            f"The run in {folder} has not finished its training.",
            fix="repeat its command, which goes on, and push then",
        )
    return record


def require_whole(folder: Path, run_dir: Path | None, record: RunRecord | None) -> None:
    """Raise for files that are not what was written, and for a merged model of another run."""
    hashes.require_unchanged(folder, DAMAGED)
    if record is None or folder == run_dir:
        return
    merged = result_of(record.stages.merge)
    if merged is None or merged.path.resolve() != folder.resolve():
        raise UsageError(
            f"--export_dir {folder} is not the merged model of the run in {run_dir}.",
            fix="leave one of the two out: the card would describe another model",
        )
    hashes.require_unchanged(folder, DAMAGED, hashes=merged.hashes)


def location_of(record: RunRecord | None) -> Path:
    """Where the base model of a run lies on this machine; a folder without weights if it does not
    say."""
    model = result_of(record.stages.model) if record is not None else None
    return Path(model.location) if model is not None else Path(os.devnull)


def show(screen: Screen, repo_id: str, sent: list[Sent], stay: list[str], base: Base) -> None:
    """What goes, what stays, and the license that it goes under."""
    for file in sent:
        screen.say(f"  {bytes_text(file.size):>10}  {file.name}")
    screen.say(f"{len(sent)} files, {bytes_text(sum(file.size for file in sent))}")
    if stay:
        screen.say(f"Not sent: {', '.join(stay)}")
    screen.say(f"Base model: {base.text}")
    screen.say(f"Its license: {base.license.text}")
    if naming := base.license.naming(repo_id):
        screen.warn(naming)
    if base.name is None:
        screen.warn("--base_model names the base model on the Hub; without it nobody can load it")
