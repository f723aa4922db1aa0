"""What a user gave for a path that is none: an address, a bucket, a list, a pattern, and the like.

Each is explained in one sentence with the right form.
"""

import re
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from urllib.parse import unquote, urlsplit

# Pages of a hub's data set: the two parts of its name, and what follows.
_HUB_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com|modelscope\.cn|"
    r"(?:www\.)?modelscope\.(?:cn|ai))/(?:api/)?datasets/([\w.-]+)/([\w.-]+)(/.*)?"
)
_HUB_SHORT = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/datasets/([\w.-]+)/?")
_IN_HUB = re.compile(r"(?:hf://)?(?:datasets/)?([\w.-]+/[\w.-]+)(@[\w.-]+)?((?:/[^/]+)+)")
_COPY = {
    "s3": "aws s3 cp",
    "s3a": "aws s3 cp",
    "gs": "gcloud storage cp",
    "gcs": "gcloud storage cp",
    "az": "azcopy copy",
    "abfs": "azcopy copy",
    "abfss": "azcopy copy",
    "wasb": "azcopy copy",
    "hdfs": "hdfs dfs -get",
    "oss": "ossutil cp",
    "cos": "coscli cp",
    "obs": "obsutil cp",
    "ftp": "curl -O",
    "sftp": "scp",
    "ssh": "scp",
    "scp": "scp",
    "dbfs": "databricks fs cp",
}
_WINDOWS = re.compile(r"[A-Za-z]:[\\/].*|\\\\[^\\].*")


def python_line(code: str) -> str:
    """A command for a shell that runs this code."""
    plain = not re.search(r'["$`!]|\\\\', code)
    return f'python -c "{code}"' if plain else f"python -c {quote(code)}"


def explained(word: str) -> str:
    """What this word is instead of a path, and the right form; "" for what may be a path."""
    return next((said for explain in _EXPLAINED if (said := explain(word))), "")


def is_address(word: str) -> bool:
    """Whether the word can be no path and no pattern, whatever files there are."""
    return "://" in word and not word.startswith(("file://", "hf://datasets/"))


def _nothing(word: str) -> str:
    if word.strip():
        return ""
    return "an empty path was given"


def _standard_input(word: str) -> str:
    if word not in ("-", "/dev/stdin", "/dev/fd/0"):
        return ""
    return (
        f"{word}: rows are not read from standard input, as they are read twice; save them to a"
        " file first: `... > rows.jsonl`, then --dataset_path rows.jsonl"
    )


def _hub_page(word: str) -> str:
    match = _HUB_PAGE.fullmatch(word.rstrip("/")) or _HUB_SHORT.fullmatch(word)
    if match is None:
        return ""
    name = "/".join(part for part in match.groups()[:2] if part)
    rest = "".join(part or "" for part in match.groups()[2:])
    name = name if "/" in name else f"hf://datasets/{name}"
    said = f"{word}: the page of a data set; give its name: --dataset_path {name}"
    file = re.fullmatch(r"/(?:blob|resolve|raw)/([^/]+)/(.+?)(?:\?.*)?", rest)
    if file:
        said += (
            f" (or that file alone: `hf download {name} {file[2]} --repo-type dataset"
            f" --local-dir .`, then --dataset_path {file[2]})"
        )
    return said


def _address(word: str) -> str:
    scheme, mark, _ = word.partition("://")
    scheme = scheme.lower()
    if not mark or scheme in ("hf", "file"):
        return ""
    file = unquote(urlsplit(word).path.rstrip("/").rsplit("/", 1)[-1]) or "data.jsonl"
    if scheme in ("http", "https"):
        return (
            f"{word}: an address, not a path; download it first: `curl -L -o {quote(file)}"
            f" {quote(word)}`, then --dataset_path {quote(file)}"
        )
    tool = _COPY.get(scheme)
    how = f"copy it here first: `{tool} {quote(word)} .`" if tool else "copy it here first"
    return f"{word}: storage elsewhere is not read; {how}, then --dataset_path {quote(file)}"


def _in_hub(word: str) -> str:
    """A file within a data set of the hub: owner/name/file, hf://datasets/owner/name/file."""
    if not word.startswith(("hf://", "datasets/")):
        return ""
    match = _IN_HUB.fullmatch(word.removeprefix("hf://").removeprefix("datasets/"))
    if match is None:
        return ""
    name, revision, file = match[1], match[2], match[3].lstrip("/")
    at = f" --revision {revision[1:]}" if revision else ""
    return (
        f"{word}: a file of a data set on the Hub; give the set's name: --dataset_path {name}, or"
        f" get that file: `hf download {name} {file} --repo-type dataset{at} --local-dir .`, then"
        f" --dataset_path {file}"
    )


def _windows(word: str) -> str:
    if not _WINDOWS.fullmatch(word):
        return ""
    drive, rest = word[:1].lower(), word[2:].replace("\\", "/")
    here = f"/mnt/{drive}{rest}" if word[1:2] == ":" else word.replace("\\", "/")
    return (
        f"{word}: a path of Windows, which this system does not have; under WSL it is"
        f" --dataset_path {quote(here)}"
    )


def _commas(word: str) -> str:
    parts = [part.strip() for part in re.split(r"[,;]", word)]
    if len(parts) < 2 or not any(part and Path(part).exists() for part in parts):
        return ""
    return f"{word}: paths are separated by spaces: --dataset_path " + " ".join(
        quote(part) for part in parts if part
    )


def _quotes(word: str) -> str:
    bare = word.strip().strip("\"'\u201c\u201d\u2018\u2019\u00ab\u00bb`")
    if bare == word or not bare or not Path(bare).exists():
        return ""
    return f"{word!r}: there is no file of this name, but there is --dataset_path {quote(bare)}"


def _variable(word: str) -> str:
    match = re.search(r"\$\{?\w+\}?|%\w+%", word)
    if match is None:
        return ""
    return (
        f"{word}: the shell left {match[0]} as it is (single quotes?); write the path itself, or"
        f" use double quotes"
    )


def _pattern(word: str) -> str:
    if not re.search(r"[*?\[]", word):
        return ""
    return f"{word}: no file here fits this pattern"


_EXPLAINED: tuple[Callable[[str], str], ...] = (
    *(_nothing, _standard_input, _hub_page, _windows, _in_hub, _address, _commas, _quotes),
    *(_variable, _pattern),
)
