"""The hubs of models and datasets: which one is asked, how far a download is, what it refused.

Both clients can be told whom to report their bytes to; neither needs torch.
"""

import io
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from fine_tuning.disk import files
from fine_tuning.errors import DataError, EnvironmentProblem, FineTuningError, ModelError

_TRUE = ("1", "true", "yes", "on", "y")
Tell = Callable[[int], None]  # bytes so far, of all files together
OnBytes = Callable[[int, int], None]  # bytes so far, bytes in all
FLAGS = {"model": "model_name_or_path", "dataset": "dataset_path"}
LOCAL = {"model": "give a local model directory", "dataset": "give a local file"}
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def in_silence(done: int, total: int) -> None:
    """Nobody watches the download."""


def on_modelscope() -> bool:
    """Whether names mean ModelScope's repositories (LLaMA-Factory's own switch)."""
    return is_on("USE_MODELSCOPE_HUB")


def on_openmind() -> bool:
    """Whether names mean repositories of openMind, which only LLaMA-Factory speaks to."""
    return is_on("USE_OPENMIND_HUB")


def is_offline() -> bool:
    """Whether the user forbids asking a hub."""
    return any(map(is_on, OFFLINE))


def is_on(name: str) -> bool:
    """Whether an environment variable says yes, as the hubs' clients read it."""
    return os.environ.get(name, "").lower() in _TRUE


def endpoint() -> str | None:
    """The mirror that the user named, or None for the Hub itself."""
    return os.environ.get("HF_ENDPOINT") or None


def site() -> str:
    """The address of the hub that is asked."""
    if on_modelscope():
        return os.environ.get("MODELSCOPE_ENDPOINT") or "https://modelscope.cn"
    return endpoint() or "https://huggingface.co"


def home() -> Path:
    """Where Hugging Face's client keeps its token and, unless told otherwise, its downloads."""
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")


def cache() -> Path:
    """Where Hugging Face's client keeps what it downloads."""
    return Path(os.environ.get("HF_HUB_CACHE") or home() / "hub")


def escaped(file: str) -> str:
    """A file name as a pattern that matches only itself."""
    return re.sub(r"([*?\[])", r"[\1]", file)


class _Sum:
    """Bytes of several files that are fetched at the same time."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._lock, self._bytes = tell, Lock(), 0

    def add(self, size: float) -> None:
        with self._lock:
            self._bytes += int(size)
            self._tell(self._bytes)


def hugging_face_meter(tell: Tell) -> type[Any]:
    """A `tqdm_class` for `huggingface_hub.snapshot_download` that draws nothing and reports bytes.

    The client makes three bars: files, bytes received, and bytes that arrived in their file; the
    last one counts (`_snapshot_download.py`), told from the others by its unit and description.
    """
    from tqdm.auto import tqdm

    total = _Sum(tell)

    class Meter(tqdm):  # type: ignore[misc]  # tqdm is not typed
        def __init__(self, *arguments: Any, **known: Any) -> None:
            self._counts = known.get("unit") == "B" and "Reconstruct" in str(known.get("desc"))
            super().__init__(*arguments, **{**known, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts:
                total.add(n or 0)
            return None

    return Meter


def modelscope_meter(tell: Tell) -> type[Any]:
    """The same as a callback of ModelScope's client, which makes one for each file."""
    from modelscope_hub import ProgressCallback

    total = _Sum(tell)

    class Meter(ProgressCallback):
        def update(self, size: int) -> None:
            total.add(size)

    return Meter


@contextmanager
def quiet_modelscope() -> Iterator[None]:
    """ModelScope's client logs each request and draws a bar that nothing turns off."""
    logging.getLogger("modelscope_hub").setLevel(logging.ERROR)
    with redirect_stderr(io.StringIO()):
        yield


@dataclass(frozen=True)
class Repo:
    """What a hub is asked for; the name may be unknown, as in a log of the engine."""

    kind: Literal["model", "dataset"]
    name: str = ""
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()

    @property
    def error(self) -> type[FineTuningError]:
        """The class of what is wrong with it."""
        return ModelError if self.kind == "model" else DataError


class Unreachable(EnvironmentProblem):
    """No hub answers: what is in the cache may do."""


def gated(repo: Repo) -> FineTuningError:
    """Its owner decides who may download it."""
    folder = "datasets/" if repo.kind == "dataset" else ""
    page = f"at {site()}/{folder}{repo.name}" if repo.name else f"on the page of the {repo.kind}"
    return repo.error(
        f"The {repo} is gated.",
        why="its owner lets only accepted accounts download it",
        fix=f"ask for access {page}, then log in (`hf auth login`), or set HF_TOKEN to a token of "
        "that account",
    )


def not_found(repo: Repo) -> FineTuningError:
    """No hub and no directory knows the name."""
    return repo.error(
        f"The {repo} was not found, neither here nor on {site()}.",
        why="a private one also looks like this without a token (HF_TOKEN, MODELSCOPE_API_TOKEN)",
        fix=f"check the name in --{FLAGS[repo.kind]}, or {LOCAL[repo.kind]}",
    )


def unreachable(repo: Repo, why: str) -> Unreachable:
    """There is no answer, and nothing in the cache."""
    return Unreachable(
        f"{site()} cannot be reached, and the {repo} is not in the local cache.",
        why=why,
        fix="check the network, set HF_ENDPOINT to a mirror (USE_MODELSCOPE_HUB=1 for ModelScope), "
        f"or {LOCAL[repo.kind]}",
    )


def explained(repo: Repo, error: Exception) -> FineTuningError:
    """What a hub's client raised, in the user's words: cause and next step."""
    from huggingface_hub import errors

    if isinstance(error, FineTuningError):
        return error
    if isinstance(error, errors.GatedRepoError):
        return gated(repo)
    if isinstance(error, errors.RevisionNotFoundError):
        return repo.error(
            f"The {repo} has no revision {repo.revision}.",
            why=f"{site()} does not know it as a branch, tag or commit",
            fix=f"correct --{repo.kind}_revision, or leave it out for the main branch",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return not_found(repo)
    if isinstance(error, errors.HFValidationError):
        return repo.error(
            f"{repo.name} is neither here nor a name that a {repo.kind} on a hub can have.",
            why=str(error),
            fix=f"check --{FLAGS[repo.kind]}",
        )
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        return EnvironmentProblem(
            f"{site()} did not give the {repo}.",
            why=f"it answered with HTTP status {status}",
            fix="log in with HF_TOKEN"
            if status in (401, 403)
            else "try again later; a download goes on where it stopped",
        )
    if files.is_refusal(error):
        refused = files.explained(error, cache())
        fix = f"{refused.fix} (HF_HOME names the place of downloads, which go on where they ended)"
        return EnvironmentProblem(refused.what, why=refused.why, fix=fix)
    return unreachable(repo, f"no connection ({type(error).__name__}: {str(error)[:200]})")


def require_upload(asked: str = "--push_to_hub", instead: str = "leave --push_to_hub out") -> None:
    """Raise EnvironmentProblem unless the Hub can be asked, and knows who asks: --push_to_hub
    uploads each checkpoint, which would fail when the model is loaded."""
    from huggingface_hub import HfApi, errors

    what, leave = f"{asked} cannot upload to the Hub.", f"or {instead}"
    if is_offline():
        raise EnvironmentProblem(
            what, why="HF_HUB_OFFLINE forbids asking it", fix=f"unset it, {leave}"
        )
    try:
        HfApi(endpoint=endpoint()).whoami()
    except (errors.LocalTokenNotFoundError, errors.HfHubHTTPError) as error:
        raise EnvironmentProblem(
            what,
            why=f"it does not know you ({str(error).splitlines()[0][:200]})",
            fix=f"log in (`hf auth login`) or set HF_TOKEN to a token that may write, {leave}",
        ) from error
    except Exception as error:
        if not is_network(error):
            raise
        raise EnvironmentProblem(
            f"{what[:-1]}: {site()} cannot be reached.",
            why=f"no connection ({type(error).__name__})",
            fix=f"check the network, set HF_ENDPOINT to a mirror, {leave}",
        ) from error


def is_network(error: Exception) -> bool:
    """Whether a client's own library could not speak with a hub."""
    family = type(error).__module__.partition(".")[0]
    return family in ("httpx", "requests", "httpcore") or isinstance(error, ConnectionError)


@contextmanager
def modelscope(repo: Repo) -> Iterator[Any]:
    """ModelScope's client; what it raises in the block becomes an error of ours."""
    try:
        import modelscope_hub as scope
        from modelscope_hub.errors import HubError, NotExistError
        from requests import RequestException
    except ImportError as error:
        raise EnvironmentProblem(
            "USE_MODELSCOPE_HUB is set, but the modelscope package is missing.",
            fix="pip install modelscope, or unset USE_MODELSCOPE_HUB",
        ) from error
    try:
        with quiet_modelscope():
            yield scope.HubApi(scope.HubConfig())  # of the environment as it is now
    except NotExistError as error:
        raise not_found(repo) from error
    except (HubError, RequestException, OSError, ValueError) as error:
        raise explained(repo, error) from error
