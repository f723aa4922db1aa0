"""Files of a dataset on the Hugging Face Hub or ModelScope, downloaded into their caches.

The files are listed and fetched with the hubs' own clients, which do not import torch; a dataset's
own code is never run. A dataset that has only such code is read from its parquet conversion.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from fine_tuning.dataset.sources.hub_layout import choose_files
from fine_tuning.dataset.sources.source import SUFFIXES, HubChoice, Split, is_data_name
from fine_tuning.errors import EnvironmentProblem, FineTuningError
from fine_tuning.hubs.downloads import (
    OnBytes,
    escaped,
    hugging_face_meter,
    in_silence,
    modelscope_meter,
)
from fine_tuning.hubs.refused import Repo, explained, modelscope, unreachable
from fine_tuning.hubs.sites import endpoint, is_offline, on_modelscope

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


def _repo(name: str, revision: str | None) -> Repo:
    return Repo("dataset", name, revision)


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
        problem = explained(_repo(name, choice.revision), error)
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
            raise explained(_repo(name, revision), error) from error

    if "README.md" not in files:
        return _Listing(files, {}, fetch)
    card, notes = _front_matter(name, fetch(["README.md"]) / "README.md")
    return _Listing(files, card, fetch, notes)


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
        listing = _on_disk(name, root, (note,))
        if any(map(is_data_name, listing.files)):
            converted = revision == _CONVERTED
            return replace(listing, card=_conversion_card(listing.files)) if converted else listing
    raise unreachable(_repo(name, choice.revision), why)


def _on_disk(name: str, root: Path, notes: tuple[str, ...] = ()) -> _Listing:
    """A snapshot that was downloaded before."""
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    readme = root / "README.md"
    card, doubts = _front_matter(name, readme) if readme.is_file() else ({}, ())
    files = [path.relative_to(root).as_posix() for path in paths]
    return _Listing(files, card, lambda _: root, (*notes, *doubts))


def _front_matter(name: str, readme: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """What a dataset's card says of its files, and a note if it cannot be understood: the data can
    be read all the same, but the configurations and splits that it names are not known."""
    import yaml
    from huggingface_hub import metadata_load

    try:
        return metadata_load(readme) or {}, ()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        note = (
            f"{name}: the head of its README.md cannot be read ({why}); configurations and splits "
            "are told by the files' names"
        )
        return {}, (note,)


def _modelscope(name: str, choice: HubChoice, on_bytes: OnBytes) -> _Listing:
    where: dict[str, Any] = {"repo_type": "dataset", "revision": choice.revision}
    with modelscope(_repo(name, choice.revision)) as api:
        from modelscope_hub.errors import HubError

        if is_offline():
            root = Path(api.download_repo(name, **where, local_files_only=True))
            return _on_disk(name, root)
        try:
            return _on_disk(name, _from_modelscope(api, name, where, on_bytes))
        except ConnectionError as error:
            with suppress(HubError):  # an earlier download may have left it
                root = Path(api.download_repo(name, **where, local_files_only=True))
                note = f"{name}: read from the local cache ({type(error).__name__})"
                return _on_disk(name, root, (note,))
            raise


def _from_modelscope(api: Any, name: str, where: Mapping[str, Any], on_bytes: OnBytes) -> Path:
    sizes = {file.path: int(file.size or 0) for file in api.list_repo_files(name, **where)}
    # whether a file of a repository may be data, packed or not
    wanted = [
        file
        for file in sizes
        if file == "README.md" or any(suffix in PurePosixPath(file).name for suffix in SUFFIXES)
    ]
    size = sum(sizes[file] for file in wanted)
    meter = modelscope_meter(lambda done: on_bytes(min(done, size), size))
    patterns = [escaped(file) for file in wanted]
    return Path(
        api.download_repo(name, **where, allow_patterns=patterns, progress_callbacks=[meter])
    )
