"""A model by its hub name: its files are fetched before anything is loaded, with progress.

The libraries that load a model would fetch it on the way, unseen and one try after another; a
name that is wrong, gated or out of reach would show as a failure of the engine, minutes later.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from fine_tuning.engine.models.source import require_whole_model
from fine_tuning.errors import EnvironmentProblem, FineTuningError, ModelError
from fine_tuning.hubs.downloads import OnBytes, escaped, hugging_face_meter, modelscope_meter
from fine_tuning.hubs.refused import (
    Repo,
    Unreachable,
    explained,
    is_network,
    modelscope,
    unreachable,
)
from fine_tuning.hubs.sites import endpoint, is_offline, on_modelscope, on_openmind

# Everything but weights that Transformers may read; a repository's code is only executed when the
# user asks for it (--trust_remote_code).
SMALL_FILES = ("*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.py")
# The first kind that a repository has is what Transformers loads.
WEIGHT_FILES = ("model*.safetensors", "pytorch_model*.bin", "*.safetensors", "*.bin")
NOT_WEIGHTS = ("training_args.bin", "optimizer*.bin", "consolidated*.safetensors")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which model: its name, revision and cache; `weights` False leaves the weights out."""

    name: str
    revision: str | None = None
    cache_dir: str | None = None
    weights: bool = True

    @property
    def repo(self) -> Repo:
        """As the hubs are asked for it."""
        return Repo("model", self.name, self.revision)


def require_model(wanted: Wanted) -> None:
    """Ask the hub whether there is such a model, once and with a short patience.

    Raises what `fetch_model` raises; nothing is downloaded. For the start of a job, before the
    data is read.
    """
    if on_openmind():
        return
    if on_modelscope():
        _ask_modelscope(wanted)
    elif _cached_config(wanted) is None:
        with _hub_errors(wanted):
            _ask_hub(wanted)


def fetch_model(wanted: Wanted, on_bytes: OnBytes) -> str:
    """Bring a hub's model into the local cache, and give what the engine loads it by.

    That is the name on Hugging Face, and the directory on ModelScope. `on_bytes` is called only
    if something is downloaded; an interrupted download goes on where it stopped. Offline, the
    cache must hold the model. Raises ModelError (not found, gated) or EnvironmentProblem.
    """
    if on_openmind():  # LLaMA-Factory fetches it
        return wanted.name
    if on_modelscope():
        return _from_modelscope(wanted, on_bytes)
    try:
        with _hub_errors(wanted):
            _ask_hub(wanted)
            _download_from_hub(wanted, on_bytes)
    except Unreachable:
        config = _cached_config(wanted)
        if config is None:
            raise
        if wanted.weights:
            _require_whole(wanted, config.parent)
    return wanted.name


def wanted_files(files: Iterable[str], weights: bool) -> list[str]:
    """The files that Transformers reads, of all files of a repository."""
    top = [file for file in files if "/" not in file or file.startswith("additional_chat")]
    found = [file for file in top if any(_is(file, pattern) for pattern in SMALL_FILES)]
    if not weights:
        return found
    candidates = [file for file in top if not any(_is(file, name) for name in NOT_WEIGHTS)]
    for pattern in WEIGHT_FILES:
        if chosen := [file for file in candidates if _is(file, pattern)]:
            return [*found, *chosen]
    return found


def _is(file: str, pattern: str) -> bool:
    return fnmatch(PurePosixPath(file).name, pattern)


def _cached_config(wanted: Wanted) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    where = {"cache_dir": wanted.cache_dir, "revision": wanted.revision}
    found = try_to_load_from_cache(wanted.name, "config.json", **where)
    return Path(found) if isinstance(found, str) else None


def _require_whole(wanted: Wanted, folder: Path) -> None:
    """Raise for a model of which an interrupted download, or a --dry_run, left a part."""
    try:
        require_whole_model(folder)
    except ModelError as error:
        raise EnvironmentProblem(
            f"No hub can be reached, and only a part of {wanted.name} is in the cache.",
            why=error.what,
            fix="repeat the command with network: the download goes on where it stopped",
        ) from error


def _ask_hub(wanted: Wanted) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    if is_offline():
        raise unreachable(wanted.repo, "HF_HUB_OFFLINE is set")
    url = hf_hub_url(wanted.name, "config.json", revision=wanted.revision, endpoint=endpoint())
    get_hf_file_metadata(url, timeout=10)


def _download_from_hub(wanted: Wanted, on_bytes: OnBytes) -> None:
    from huggingface_hub import HfApi, snapshot_download

    listed = HfApi(endpoint=endpoint()).list_repo_files(wanted.name, revision=wanted.revision)
    where: dict[str, Any] = {
        "revision": wanted.revision,
        "cache_dir": wanted.cache_dir,
        "endpoint": endpoint(),
        "allow_patterns": [escaped(name) for name in wanted_files(listed, wanted.weights)],
    }
    found = snapshot_download(wanted.name, **where, dry_run=True)
    missing = [file.file_size or 0 for file in found if file.will_download]
    if missing:
        size = sum(missing)
        on_bytes(0, size)
        meter = hugging_face_meter(lambda done: on_bytes(min(done, size), size))
        snapshot_download(wanted.name, **where, tqdm_class=meter)


@contextmanager
def _hub_errors(wanted: Wanted) -> Iterator[None]:
    """What the Hub's client raises, as errors of ours."""
    from huggingface_hub import errors

    try:
        yield
    except FineTuningError:
        raise
    except errors.LocalEntryNotFoundError as error:
        raise explained(wanted.repo, error) from error
    except errors.EntryNotFoundError as error:
        raise ModelError(
            f"{wanted.name} on the Hub has no config.json, so it is not a model of Transformers.",
            fix="GGUF-only and adapter-only repositories cannot be trained; name the base model",
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise explained(wanted.repo, error) from error
    except Exception as error:  # the HTTP library's own errors are not the client's to promise
        if not is_network(error):
            raise
        raise explained(wanted.repo, error) from error


def _ask_modelscope(wanted: Wanted) -> list[Any]:
    """The files of the repository (nothing if only the cache can be asked)."""
    with modelscope(wanted.repo) as api:
        if not is_offline():
            try:
                return list(api.list_repo_files(wanted.name, "model", revision=_revision(wanted)))
            except ConnectionError:
                if _modelscope_cache(api, wanted) is None:
                    raise
        elif _modelscope_cache(api, wanted) is None:
            raise unreachable(wanted.repo, "HF_HUB_OFFLINE is set")
    return []


def _from_modelscope(wanted: Wanted, on_bytes: OnBytes) -> str:
    listed = _ask_modelscope(wanted)
    sizes = {file.path: int(file.size or 0) for file in listed}
    names = wanted_files(sizes, wanted.weights)
    size = sum(sizes[name] for name in names)
    with modelscope(wanted.repo) as api:
        if not listed:  # offline, and something is there
            cached = Path(str(_modelscope_cache(api, wanted)))
            if wanted.weights:
                _require_whole(wanted, cached)
            return str(cached)
        meter = modelscope_meter(lambda done: on_bytes(min(done, size), size))
        folder = api.download_repo(
            wanted.name,
            "model",
            revision=_revision(wanted),
            cache_dir=wanted.cache_dir,
            allow_patterns=[escaped(name) for name in names],
            progress_callbacks=[meter],
        )
    return str(Path(folder).resolve())


def _revision(wanted: Wanted) -> str | None:
    """LLaMA-Factory's default is Hugging Face's name of the main branch."""
    return None if wanted.revision == "main" else wanted.revision


def _modelscope_cache(api: Any, wanted: Wanted) -> Path | None:
    """What an earlier download left."""
    from modelscope_hub.errors import HubError

    where = {"revision": _revision(wanted), "cache_dir": wanted.cache_dir}
    try:
        return Path(api.download_repo(wanted.name, "model", **where, local_files_only=True))
    except HubError:
        return None
