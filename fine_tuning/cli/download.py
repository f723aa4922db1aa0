"""`download`: a model or a dataset of a hub into a directory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Literal

from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.run import end_like_ctrl_c
from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.engine.models.hub import wanted_files
from fine_tuning.errors import DataError, ModelError, UsageError
from fine_tuning.hubs import folder as hub_folder
from fine_tuning.hubs.refused import Repo
from fine_tuning.screen import downloading
from fine_tuning.units import bytes_text, counted

STAGES = {"model": "fetch_model", "dataset": "fetch_data"}
PAPERS = ("README*", "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
NAMED = 4  # files that are named of those that are left out


@dataclass(frozen=True)
class Wish:
    """Which files: those of `include` (none: what is needed) without those of `exclude`."""

    repo: Repo
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def choose(self, listed: Iterable[str]) -> list[str]:
        """The wanted files, sorted; an error of the repository's kind if there are none."""
        names = sorted(name for name in listed if name != ".gitattributes")
        if self.include:
            found = [name for name in names if _matches(name, self.include)]
        elif self.repo.kind == "model":
            found = self._of_a_model(names)
        else:
            found = names
        found = [name for name in found if not _matches(name, self.exclude)]
        if not found:
            error = ModelError if self.repo.kind == "model" else DataError
            raise error(
                f"No file of the {self.repo} is asked for.",
                why="its files are " + ", ".join(names[:8]) + (" ..." if len(names) > 8 else ""),
                fix="correct --include and --exclude",
            )
        return found

    def _of_a_model(self, names: list[str]) -> list[str]:
        """What Transformers and PEFT load of all files, and what says how it may be used."""
        if not {"config.json", "adapter_config.json"} & {*names}:
            raise ModelError(
                f"The {self.repo} has no config.json, so it is not a model of Transformers.",
                why="its files are " + ", ".join(names[:8]) + (" ..." if len(names) > 8 else ""),
                fix="name the files to download: --include '*.gguf'",
            )
        papers = [name for name in names if "/" not in name and _matches(name, PAPERS)]
        return sorted({*papers, *wanted_files(names, weights=True)})


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """A repository of a hub, or a part of it, in a directory."""

    kind: Annotated[Literal["model", "dataset"], "what it is"]
    name: Annotated[str, "the repository"]
    commit: Annotated[str, "the commit that the files are of"]
    directory: Annotated[Path, "where they lie"]
    files: Annotated[Mapping[str, int], "name -> bytes"]
    left_out: Annotated[Mapping[str, int], "files that were not asked for: name -> bytes"]
    was_there: Annotated[bool, "nothing had to be fetched"]


def run(job: Resolved) -> Outcome[Downloaded]:
    """Download; a repeated command fetches what is not whole."""
    repo, target = asked(job)
    wish = Wish(repo, job.options["include"] or (), job.options["exclude"] or ())
    end_like_ctrl_c()
    with open_screen() as screen:
        with downloading(screen, STAGES[repo.kind], repo.name) as on_bytes:
            fetched = hub_folder.fetch(repo, target, wish.choose, on_bytes)
        if fetched.left_out:
            screen.say(left_out_text(fetched.left_out))
        size = bytes_text(sum(fetched.files.values()))
        arrived = "was there already" if fetched.was_there else "is checked against the hub's list"
        screen.say(
            f"{target}: {counted(len(fetched.files), 'file')}, {size}, of commit "
            f"{fetched.commit[:12]}; it {arrived}."
        )
        screen.say(
            f"next: --{'model_name_or_path' if repo.kind == 'model' else 'dataset_path'} {target}"
        )
    return Outcome(
        Downloaded(
            kind=repo.kind,
            name=repo.name,
            commit=fetched.commit,
            directory=target,
            files=fetched.files,
            left_out=fetched.left_out,
            was_there=fetched.was_there,
        )
    )


def asked(job: Resolved) -> tuple[Repo, Path]:
    """The repository and the directory. Raises UsageError with all that is missing."""
    model, datasets = job.spec.model_name_or_path, job.spec.data.dataset_path
    target, mistakes = job.options["output_dir"], []
    if bool(model) == bool(datasets) or len(datasets) > 1:
        mistakes.append(
            "One name is needed: --model_name_or_path of a model, or --dataset_path of a dataset."
        )
    if target is None:
        mistakes.append("--output_dir is needed: the directory for the files.")
    name = str(model or next(iter(datasets), ""))
    if Path(name).is_dir():
        mistakes.append(f"{name} is a directory here already; it is downloaded from nowhere.")
    if mistakes:
        raise UsageError(mistakes)
    if model:
        return Repo("model", name, job.options["model_revision"]), target
    return Repo("dataset", name, job.spec.data.dataset_revision), target


def left_out_text(left_out: Mapping[str, int]) -> str:
    """What was not fetched, the largest first."""
    largest = sorted(left_out, key=lambda name: -left_out[name])
    names = ", ".join(largest[:NAMED]) + (" ..." if len(largest) > NAMED else "")
    size = bytes_text(sum(left_out.values()))
    return f"Left out: {counted(len(largest), 'file')}, {size} ({names}); --include takes them."


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
