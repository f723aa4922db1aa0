"""What is uploaded to the Hub, and the upload: named files only, each of them once."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fine_tuning.errors import EnvironmentProblem, UsageError
from fine_tuning.hubs.downloads import OnBytes
from fine_tuning.hubs.refused import is_network
from fine_tuning.hubs.sites import endpoint, site
from fine_tuning.ship.hub.card import MARK, Base

TOKENIZER = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "vocab.*",
    "merges.txt",
    "*.tiktoken",
    "*.model",
    "*processor_config.json",
)
# Checkpoints, rows, logs and pickles are not among them, and neither are a base model's weights.
LICENSES = ("LICENSE*", "NOTICE*", "USE_POLICY*")
ADAPTER = (
    *LICENSES,
    "adapter_config.json",
    "adapter_model.safetensors",
    "value_head.safetensors",
    "trained_on.json",
    *TOKENIZER,
)
WHOLE = (
    *LICENSES,
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "value_head.safetensors",
    "*.gguf",
    *TOKENIZER,
)
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
TRIES = 3  # of one file; what has arrived is not sent again


@dataclass(frozen=True)
class Sent:
    """A file of the repository: as it lies here, or the content that is sent in its stead."""

    name: str
    content: Path | bytes

    @property
    def size(self) -> int:
        """In bytes."""
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size


def chosen(folder: Path, base: Base, *, is_adapter: bool) -> tuple[list[Sent], list[str]]:
    """The files to send, and the names of those that stay.

    Configurations are sent without paths of this machine: a base model in a directory becomes its
    name. Raises UsageError if there are no weights to send.
    """
    patterns = ADAPTER if is_adapter else WHOLE
    taken = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    sent = [Sent(path.name, _cleaned(path, base)) for path in taken if path.is_file()]
    if not any(file.name.endswith((".safetensors", ".gguf")) for file in sent):
        raise UsageError(
            f"{folder} holds no {'adapter' if is_adapter else 'model'} to send "
            "(weights in .safetensors or .gguf).",
            fix="give the --output_dir of a finished run, or the --export_dir of a merged model",
        )
    names = {file.name for file in sent}
    return sent, sorted(path.name for path in folder.iterdir() if path.name not in names)


def _cleaned(path: Path, base: Base) -> Path | bytes:
    """A configuration whose paths were replaced, or the file itself."""
    if not path.name.endswith("config.json"):
        return path
    known = json.loads(path.read_text(encoding="utf-8"))
    changed = dict(known)
    for key in ("base_model_name_or_path", "_name_or_path", "name_or_path"):
        if isinstance(known.get(key), str) and known[key]:
            changed[key] = base.name or base.shown
    if "base_model_name_or_path" in known and base.revision:
        changed["revision"] = base.revision
    if changed == known:
        return path
    return (json.dumps(changed, indent=2, ensure_ascii=False) + "\n").encode()


def push(sent: Sequence[Sent], repo_id: str, *, public: bool, on_bytes: OnBytes) -> list[str]:
    """Upload the files as one commit; gives what there is to say.

    Raises UsageError for a repository that must not take them, EnvironmentProblem for what the
    Hub refuses or a connection that stays broken.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=endpoint())
    try:
        notes, keeps_card = _look(api, repo_id, sent, public=public)
        api.create_repo(repo_id, private=not public, exist_ok=True)
        additions = [
            CommitOperationAdd(file.name, file.content)
            for file in sent
            if not (keeps_card and file.name == "README.md")
        ]
        done, total = 0, sum(file.size for file in sent)
        on_bytes(0, total)
        with _storage_of(api, repo_id):
            for addition in additions:
                _send(api, repo_id, addition)
                done += addition.upload_info.size
                on_bytes(done, total)
        made = api.create_commit(
            repo_id, additions, commit_message="Upload with llama-factory-fine-tuning"
        )
    except Exception as error:
        raise _explained(repo_id, error) from error
    return [*notes, f"{site()}/{repo_id} ({'public' if public else 'private'}), commit {made.oid}"]


@contextmanager
def _storage_of(api: Any, repo_id: str) -> Iterator[None]:
    """Large files go to the hub's own storage, Xet, or over LFS where it has none, as mirrors: the
    client tries nothing else where Xet is installed (`_commit_api.py`: _upload_files)."""
    from huggingface_hub import constants
    from huggingface_hub.utils._http import get_session
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    url = f"{api.endpoint}/api/models/{repo_id}/xet-write-token/main"
    answer = get_session().get(url, headers=api._build_hf_headers(), timeout=30)
    off, hidden = constants.HF_HUB_DISABLE_XET, are_progress_bars_disabled()
    has_it = constants.HUGGINGFACE_HEADER_X_XET_ENDPOINT in answer.headers
    constants.HF_HUB_DISABLE_XET = off or not has_it
    disable_progress_bars()  # ours is one for all files
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = off
        if not hidden:
            enable_progress_bars()


def _send(api: Any, repo_id: str, addition: Any) -> None:
    """Bring the content of a large file to the Hub; small ones travel with the commit."""
    for left in reversed(range(TRIES)):
        try:
            api.preupload_lfs_files(repo_id, [addition], free_memory=False)
            return
        except Exception as error:
            if not left or not is_network(_cause(error)):
                raise


def _look(api: Any, repo_id: str, sent: Sequence[Sent], *, public: bool) -> tuple[list[str], bool]:
    """What is to be said of a repository that is there already, and whether its card stays."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(repo_id, timeout=30)
    except RepositoryNotFoundError:
        return [], False
    if not info.private and not public:
        raise UsageError(
            f"{site()}/{repo_id} is there already, and everybody can read it.",
            fix="say --public if that is meant, or give another --repo_id",
        )
    there = {file.rfilename for file in info.siblings or []}
    stale = sorted(name for name in there - {file.name for file in sent} if name.endswith(WEIGHTS))
    if stale:
        raise UsageError(
            f"{site()}/{repo_id} holds other weights: {', '.join(stale[:4])}.",
            fix="give another --repo_id, or delete them there: both would be loaded",
        )
    notes = []
    if info.private and public:
        notes.append(f"{repo_id} was there already and stays private.")
    keeps_card = "README.md" in there and not _is_ours(api, repo_id)
    if keeps_card:
        notes.append(f"{repo_id} has a card of its own, which stays as it is.")
    return notes, keeps_card


def _is_ours(api: Any, repo_id: str) -> bool:
    """Whether the card there was generated."""
    with tempfile.TemporaryDirectory() as folder:
        card = Path(api.hf_hub_download(repo_id, "README.md", local_dir=folder))
        return MARK in card.read_text(encoding="utf-8", errors="replace")


def _cause(error: BaseException) -> Exception:
    """What the client wrapped in an error of no class of its own (`_upload_lfs_files`)."""
    while type(error) is RuntimeError and error.__cause__ is not None:
        error = error.__cause__
    assert isinstance(error, Exception)
    return error


def _explained(repo_id: str, error: Exception) -> Exception:
    """What the Hub's client raised, in the user's words; what is none of its as it is."""
    from huggingface_hub import errors

    cause = _cause(error)
    again = "repeat the command: files that have arrived are not sent again"
    if isinstance(cause, errors.HFValidationError):
        return UsageError(f"--repo_id {repo_id}: {cause}")
    if isinstance(cause, errors.HfHubHTTPError) and cause.response is not None:
        status = cause.response.status_code
        return EnvironmentProblem(
            f"{site()} did not take {repo_id}.",
            why=f"HTTP status {status}: {str(cause).splitlines()[0][:200]}",
            fix="set HF_TOKEN to a token that may write there (or `hf auth login`)"
            if status in (401, 403)
            else again,
        )
    if is_network(cause):
        return EnvironmentProblem(
            f"The connection to {site()} broke while {repo_id} was uploaded.",
            why=type(cause).__name__,
            fix=again,
        )
    return error
