"""A repository of a hub in a directory of the user's: listed, chosen from, fetched, checked.

What was fetched is noted beside the files (`download.json`): from where, of which commit, and how
far; a repeated command goes on with that commit, however the branch has moved meanwhile.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning.disk import files
from fine_tuning.errors import EnvironmentProblem, FineTuningError, UsageError
from fine_tuning.hubs.downloads import OnBytes, escaped, hugging_face_meter, modelscope_meter
from fine_tuning.hubs.refused import Repo, explained, is_network, modelscope, unreachable
from fine_tuning.hubs.sites import endpoint, is_offline, on_modelscope, site

NOTE = "download.json"
# Of a download whose connection breaks: the client itself goes on inside a file only where the
# server ended it cleanly, and keeps no part of a file (`file_download._download_to_tmp_and_move`).
TRIES = 3
Choose = Callable[[Iterable[str]], list[str]]  # the files that are wanted, of all there are


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file as the hub lists it; the hash is of its content, or git's of a small file."""

    size: int
    sha256: str | None = None
    blob: str | None = None

    def has_content(self, path: Path) -> bool:
        """Whether the content has the hash that the hub tells; true if it tells none."""
        if self.sha256 is None and self.blob is None:
            return True
        digest = hashlib.sha256()
        if self.sha256 is None:  # git's id of a small file
            digest = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest() == (self.sha256 or self.blob)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What is in the directory now; `left_out` are the files that were not wanted."""

    commit: str
    files: Mapping[str, int]
    left_out: Mapping[str, int]
    was_there: bool = False

    def missing(self, target: Path) -> int:
        """Bytes that are still to come into the directory."""
        return sum(size for name, size in self.files.items() if _size(target / name) != size)


def fetch(repo: Repo, target: Path, choose: Choose, on_bytes: OnBytes) -> Fetched:
    """Bring the chosen files of a repository into the directory, whole and checked.

    Raises UsageError for a directory that holds something else, what `explained` says of the hub,
    and EnvironmentProblem for a connection that broke or a disk that is too small.
    """
    known = _note(repo, target)
    if known is not None and (fetched := _still_there(known, target, choose)):
        return fetched
    if is_offline():
        raise unreachable(repo, "HF_HUB_OFFLINE is set")
    ask, get = _HUBS[on_modelscope()]
    commit, listed = ask(repo, None if known is None else known["commit"])
    chosen = choose(listed)
    fetched = Fetched(
        commit=commit,
        files={name: listed[name].size for name in chosen},
        left_out={name: file.size for name, file in listed.items() if name not in chosen},
    )
    _require_room(target, fetched)
    _write_note(repo, target, fetched, complete=False)
    get(repo, commit, target, fetched, on_bytes)
    for name in chosen:
        _require_whole(target / name, listed[name])
    _write_note(repo, target, fetched, complete=True)
    return fetched


def _still_there(known: Mapping[str, Any], target: Path, choose: Choose) -> Fetched | None:
    """What an earlier command fetched, if it is whole and what is wanted now."""
    sizes = dict(known["files"])
    if not known["complete"] or choose([*sizes, *known["left_out"]]) != list(sizes):
        return None
    if any(_size(target / name) != size for name, size in sizes.items()):
        return None
    return Fetched(commit=known["commit"], files=sizes, left_out=known["left_out"], was_there=True)


def _note(repo: Repo, target: Path) -> Mapping[str, Any] | None:
    """What an earlier download noted here; UsageError for a directory that holds something else."""
    if not (target / NOTE).is_file():
        files.require_empty(target, "--output_dir ")
        return None
    known = files.read_json(target / NOTE, "give another --output_dir")
    asked = {"kind": repo.kind, "name": repo.name, "revision": repo.revision, "hub": site()}
    differing = [name for name, value in asked.items() if known.get(name) != value]
    if differing:
        was, wanted = (
            ", ".join(f"{name} {values.get(name)}" for name in differing)
            for values in (known, asked)
        )
        raise UsageError(
            f"--output_dir {target} holds another download: {was}, and not {wanted}. "
            "Nothing was touched.",
            fix="give another directory",
        )
    return known


def _write_note(repo: Repo, target: Path, fetched: Fetched, *, complete: bool) -> None:
    target.mkdir(parents=True, exist_ok=True)
    note = {
        "kind": repo.kind,
        "name": repo.name,
        "revision": repo.revision,
        "hub": site(),
        "commit": fetched.commit,
        "complete": complete,
        "files": fetched.files,
        "left_out": fetched.left_out,
    }
    files.write_text(target / NOTE, json.dumps(note, indent=1, ensure_ascii=False) + "\n")


def _require_room(target: Path, fetched: Fetched) -> None:
    """Raise EnvironmentProblem if the disk cannot hold what is not there yet."""
    missing = fetched.missing(target)
    place = next(folder for folder in (target, *target.absolute().parents) if folder.is_dir())
    if shutil.disk_usage(place).free < missing:
        raise EnvironmentProblem(
            f"{target} cannot hold the download of {missing / 1e9:.1f} GB.",
            why=f"only {shutil.disk_usage(place).free / 1e9:.1f} GB are free on its disk",
            fix="free space, or give a directory on another disk",
        )


def _size(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_size
    return None


def _require_whole(path: Path, remote: Remote) -> None:
    """Raise EnvironmentProblem for a file that is not what the hub has; it is removed, so that it
    is fetched again."""
    size = _size(path)
    if size == remote.size and remote.has_content(path):
        return
    path.unlink(missing_ok=True)
    why = f"it has {size} bytes, and should have {remote.size}"
    raise EnvironmentProblem(
        f"{path} did not arrive as it is on {site()}.",
        why=why if size != remote.size else "its hash is another",
        fix="repeat the command: only this file is fetched again",
    )


def _ask_hugging_face(repo: Repo, commit: str | None) -> tuple[str, dict[str, Remote]]:
    from huggingface_hub import HfApi

    try:
        info: Any = HfApi(endpoint=endpoint()).repo_info(
            repo.name,
            repo_type=repo.kind,
            revision=commit or repo.revision,
            files_metadata=True,
            timeout=30,
        )
    except Exception as error:
        raise _explained(repo, error) from error
    listed = {
        file.rfilename: Remote(
            size=int(file.size or 0),
            sha256=file.lfs.sha256 if file.lfs else None,
            blob=None if file.lfs else file.blob_id,
        )
        for file in info.siblings or []
    }
    return str(info.sha), listed


def _get_hugging_face(
    repo: Repo, commit: str, target: Path, fetched: Fetched, on_bytes: OnBytes
) -> None:
    from huggingface_hub import snapshot_download

    for left in reversed(range(TRIES)):
        size = fetched.missing(target)
        arrived = 0

        def tell(done: int, size: int = size) -> None:
            nonlocal arrived
            arrived = min(done, size)
            on_bytes(arrived, size)

        try:
            snapshot_download(
                repo.name,
                repo_type=repo.kind,
                revision=commit,
                local_dir=target,
                endpoint=endpoint(),
                allow_patterns=[escaped(name) for name in fetched.files],
                tqdm_class=hugging_face_meter(tell),
            )
            return
        except Exception as error:
            if not is_network(error):
                raise _explained(repo, error) from error
            if not left:
                raise EnvironmentProblem(
                    f"The connection to {site()} broke while the {repo} was downloaded.",
                    why=f"{type(error).__name__}, after {arrived:,} of {size:,} bytes",
                    fix="repeat the command: files that are whole are not fetched again",
                ) from error


def _explained(repo: Repo, error: Exception) -> FineTuningError:
    """What the Hub's client raised as an error of ours; what is none of its is a bug of ours."""
    from huggingface_hub import errors

    known = isinstance(error, (errors.HfHubHTTPError, errors.HFValidationError, OSError))
    if not (known or is_network(error) or isinstance(error, FineTuningError)):
        raise error
    return explained(repo, error)


def _ask_modelscope(repo: Repo, _commit: str | None) -> tuple[str, dict[str, Remote]]:
    """ModelScope lists no commits: the revision stands for one."""
    with modelscope(repo) as api:
        listed = api.list_repo_files(repo.name, repo.kind, revision=repo.revision)
    return repo.revision or "master", {
        file.path: Remote(size=int(file.size or 0), sha256=file.sha256 or None)
        for file in listed
        if not file.is_dir
    }


def _get_modelscope(
    repo: Repo, _commit: str, target: Path, fetched: Fetched, on_bytes: OnBytes
) -> None:
    size = fetched.missing(target)
    meter = modelscope_meter(lambda done: on_bytes(min(done, size), size))
    with modelscope(repo) as api:
        api.download_repo(
            repo.name,
            repo.kind,
            revision=repo.revision,
            local_dir=target,
            allow_patterns=[escaped(name) for name in fetched.files],
            progress_callbacks=[meter],
        )


_HUBS = {
    False: (_ask_hugging_face, _get_hugging_face),
    True: (_ask_modelscope, _get_modelscope),
}
