"""Files of a dataset on the Hugging Face Hub or ModelScope, downloaded into their caches.

The files are listed and fetched with the hubs' own clients, which do not import torch; a dataset's
own code is never run. A dataset that has only such code is read from its parquet conversion.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from fine_tuning.dataset.read.find import is_data_name
from fine_tuning.dataset.read.hub_layout import choose_files
from fine_tuning.dataset.read.sources import SUFFIXES, HubChoice, Split
from fine_tuning.errors import DataError, EnvironmentProblem, FineTuningError
from fine_tuning.hubs import (
    OnBytes,
    endpoint,
    escaped,
    hugging_face_meter,
    in_silence,
    is_offline,
    modelscope_meter,
    on_modelscope,
    quiet_modelscope,
)

_CONVERTED = "refs/convert/parquet"


@dataclass(frozen=True)
class HubFile:
    """A downloaded file: its path in the dataset, its path on disk, its split."""

    name: str
    path: Path
    split: Split


@dataclass(frozen=True)
class _Listing:
    """A dataset's files, its card's front matter, and how to download files of it."""

    files: Sequence[str]
    card: Mapping[str, Any]
    fetch: Callable[[list[str]], Path]
    notes: tuple[str, ...] = ()


def hub_files(
    name: str, choice: HubChoice, on_bytes: OnBytes = in_silence
) -> tuple[list[HubFile], tuple[str, ...]]:
    """The files of Hub dataset `name` (owner/name), and what to tell the user about the choice.

    `on_bytes` is told how many of how many bytes are there, if something must be downloaded.
    """
    ask = _modelscope if on_modelscope() else _hugging_face
    listing = ask(name, choice, on_bytes)
    chosen = choose_files(name, listing.files, listing.card, choice)
    root = listing.fetch([file for file, _ in chosen.files])
    files = [HubFile(file, root / file, split) for file, split in chosen.files]
    return files, (*listing.notes, *chosen.notes)


def _hugging_face(name: str, choice: HubChoice, on_bytes: OnBytes) -> _Listing:
    if is_offline():
        return _cached(name, choice, "HF_HUB_OFFLINE is set")
    import httpx

    try:
        listing = _online(name, choice.revision, on_bytes)
        if choice.revision is None and not any(map(is_data_name, listing.files)):
            return _converted(name, on_bytes) or listing
        return listing
    except (OSError, ValueError, httpx.HTTPError) as error:
        problem = _explained(name, choice, error)
        if isinstance(problem, EnvironmentProblem):
            try:
                return _cached(name, choice, problem.why)
            except FineTuningError:
                pass
        raise problem from error


def _online(name: str, revision: str | None, on_bytes: OnBytes) -> _Listing:
    import huggingface_hub as hub

    info = hub.HfApi(endpoint=endpoint()).dataset_info(name, revision=revision, timeout=30)
    files = [sibling.rfilename for sibling in info.siblings or []]

    def fetch(wanted: list[str]) -> Path:
        where: dict[str, Any] = {
            "repo_type": "dataset",
            "revision": revision,
            "allow_patterns": [escaped(file) for file in wanted],
            "endpoint": endpoint(),
        }
        try:
            found = hub.snapshot_download(name, **where, dry_run=True)
            size = sum(file.file_size or 0 for file in found if file.will_download)
            meter = hugging_face_meter(lambda done: on_bytes(min(done, size), size))
            return Path(hub.snapshot_download(name, **where, tqdm_class=meter))
        except Exception as error:
            raise _explained(name, HubChoice(revision=revision), error) from error

    card: Mapping[str, Any] = {}
    if "README.md" in files:
        card = _front_matter(fetch(["README.md"]) / "README.md")
    return _Listing(files, card, fetch)


def _converted(name: str, on_bytes: OnBytes) -> _Listing | None:
    """The parquet conversion that the Hub makes: <configuration>/<split>/0000.parquet."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        listing = _online(name, _CONVERTED, on_bytes)
    except HfHubHTTPError:
        return None
    note = f"{name}: read from the Hub's parquet conversion (its own script is never run)"
    return replace(listing, card=_conversion_card(listing.files), notes=(note,))


def _conversion_card(files: Sequence[str]) -> Mapping[str, Any]:
    """The conversion's folders as a card's front matter."""
    by_config: dict[str, dict[str, list[str]]] = {}
    for file in filter(is_data_name, files):
        config, split, *rest = file.split("/")
        if rest:
            splits = by_config.setdefault(config, {})
            splits.setdefault(split.removeprefix("partial-"), []).append(file)
    configs = [
        {
            "config_name": config,
            "data_files": [{"split": split, "path": paths} for split, paths in splits.items()],
        }
        for config, splits in by_config.items()
    ]
    return {"configs": configs}


def _cached(name: str, choice: HubChoice, why: str) -> _Listing:
    """What an earlier download left in the cache."""
    import huggingface_hub as hub

    note = f"{name}: read from the local cache ({why})"
    for revision in [choice.revision] if choice.revision else [None, _CONVERTED]:
        try:
            root = Path(
                hub.snapshot_download(
                    name, repo_type="dataset", revision=revision, local_files_only=True
                )
            )
        except (OSError, ValueError):
            continue
        listing = _on_disk(root, (note,))
        if any(map(is_data_name, listing.files)):
            converted = revision == _CONVERTED
            return replace(listing, card=_conversion_card(listing.files)) if converted else listing
    raise EnvironmentProblem(
        f"the dataset {name} is not in the local cache",
        why=why,
        fix="download it once with network, or give a local file with --dataset_path",
    )


def _on_disk(root: Path, notes: tuple[str, ...] = ()) -> _Listing:
    """A snapshot that was downloaded before."""
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    readme = root / "README.md"
    card = _front_matter(readme) if readme.is_file() else {}
    return _Listing(
        [path.relative_to(root).as_posix() for path in paths], card, lambda _: root, notes
    )


def _front_matter(readme: Path) -> Mapping[str, Any]:
    from huggingface_hub import metadata_load

    try:
        return metadata_load(readme) or {}
    except Exception:  # a card that nobody can parse must not stop the data from being read
        return {}


def _is_data(file: str) -> bool:
    """Whether a file of a repository may be data, packed or not."""
    return any(suffix in PurePosixPath(file).name for suffix in SUFFIXES)


def _explained(name: str, choice: HubChoice, error: Exception) -> FineTuningError:
    """A hub client's error in the user's words: cause and next step."""
    import huggingface_hub.errors as hub

    if isinstance(error, FineTuningError):
        return error
    site = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    if isinstance(error, hub.GatedRepoError):
        return DataError(
            f"the dataset {name} is gated",
            why="its owner gives access on request",
            fix=f"ask for access at {site}/datasets/{name}, then log in: `hf auth login`"
            " or HF_TOKEN",
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return DataError(
            f'{name} has no revision "{choice.revision}"',
            why=f"{site} does not know it as a branch, tag or commit",
            fix="correct --dataset_revision, or leave it out for the main branch",
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return DataError(
            f"there is no dataset {name} on {site}, and no such file or directory here",
            why="the name is wrong, or the dataset is private and you are not logged in",
            fix="check the name; for a private dataset `hf auth login` or HF_TOKEN",
        )
    if isinstance(error, hub.HFValidationError):
        return DataError(f"{name} is no file here and no name of a Hub dataset", why=str(error))
    if isinstance(error, hub.HfHubHTTPError) and error.response is not None:
        return EnvironmentProblem(
            f"{site} did not give the dataset {name}",
            why=f"it answered with HTTP status {error.response.status_code}",
            fix="try again later; an interrupted download goes on where it stopped",
        )
    if isinstance(error, OSError) and error.errno == 28:
        return EnvironmentProblem(
            f"no space left for the dataset {name}",
            why=str(error),
            fix="free some space, or set HF_HOME to another disk",
        )
    return EnvironmentProblem(
        f"the dataset {name} cannot be fetched from {site}",
        why=f"no connection ({type(error).__name__}: {str(error)[:200]})",
        fix="check network and HF_ENDPOINT (a mirror), or give a local file with --dataset_path",
    )


def _modelscope(name: str, choice: HubChoice, on_bytes: OnBytes) -> _Listing:
    try:
        import modelscope_hub as scope
        from modelscope_hub.errors import HubError
        from requests import RequestException
    except ImportError as error:
        raise EnvironmentProblem(
            "USE_MODELSCOPE_HUB is set, but the modelscope package is missing",
            fix="pip install modelscope, or unset USE_MODELSCOPE_HUB",
        ) from error

    api = scope.HubApi(scope.HubConfig())  # of the environment as it is now
    where: dict[str, Any] = {"repo_type": "dataset", "revision": choice.revision}
    try:
        with quiet_modelscope():
            if not is_offline():
                try:
                    return _on_disk(_from_modelscope(api, name, where, on_bytes))
                except ConnectionError as error:
                    with suppress(HubError):  # an earlier download may have left it
                        root = Path(api.download_repo(name, **where, local_files_only=True))
                        note = f"{name}: read from the local cache ({type(error).__name__})"
                        return _on_disk(root, (note,))
                    raise
            return _on_disk(Path(api.download_repo(name, **where, local_files_only=True)))
    except (HubError, RequestException, OSError, ValueError) as error:
        raise EnvironmentProblem(
            f"the dataset {name} cannot be fetched from ModelScope",
            why=f"{type(error).__name__}: {str(error)[:200]}",
            fix="check the name, the network and MODELSCOPE_API_TOKEN",
        ) from error


def _from_modelscope(api: Any, name: str, where: Mapping[str, Any], on_bytes: OnBytes) -> Path:
    sizes = {file.path: int(file.size or 0) for file in api.list_repo_files(name, **where)}
    wanted = [file for file in sizes if file == "README.md" or _is_data(file)]
    size = sum(sizes[file] for file in wanted)
    meter = modelscope_meter(lambda done: on_bytes(min(done, size), size))
    patterns = [escaped(file) for file in wanted]
    return Path(
        api.download_repo(name, **where, allow_patterns=patterns, progress_callbacks=[meter])
    )
