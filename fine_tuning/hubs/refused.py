"""What the hubs' clients raise, in the user's words: cause and next step."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any, Literal

from fine_tuning.disk import files
from fine_tuning.errors import DataError, EnvironmentProblem, FineTuningError, ModelError
from fine_tuning.hubs.sites import cache, endpoint, is_offline, site

FLAGS = {"model": "model_name_or_path", "dataset": "dataset_path"}
LOCAL = {"model": "give a local model directory", "dataset": "give a local file"}


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


def is_network(error: Exception) -> bool:
    """Whether a client's own library could not speak with a hub."""
    family = type(error).__module__.partition(".")[0]
    return family in ("httpx", "requests", "httpcore") or isinstance(error, ConnectionError)


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
    logging.getLogger("modelscope_hub").setLevel(logging.ERROR)  # it logs each request
    try:
        with redirect_stderr(io.StringIO()):  # and draws a bar that nothing turns off
            yield scope.HubApi(scope.HubConfig())  # of the environment as it is now
    except NotExistError as error:
        raise not_found(repo) from error
    except (HubError, RequestException, OSError, ValueError) as error:
        raise explained(repo, error) from error
