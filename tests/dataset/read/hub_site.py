"""A Hugging Face Hub on 127.0.0.1: the few answers that the real client asks for."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tests.local_site import Answers, serving

SHA = "a" * 40
CONVERTED = "b" * 40


@dataclass
class Site:
    """Repositories by name, as file -> content; `denied` maps a name to (status, error code)."""

    datasets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    converted: dict[str, dict[str, bytes]] = field(default_factory=dict)
    denied: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def files(self, name: str, revision: str) -> dict[str, bytes] | None:
        if revision in ("main", SHA):
            return self.datasets.get(name)
        if revision in ("refs/convert/parquet", CONVERTED):
            return self.converted.get(name)
        return None


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """The site under a free port while the block runs."""

    class HubAnswers(Answers):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            site.asked.append(f"{self.command} {path}")
            parts = path.split("/")
            start = {"api": 2, "datasets": 1}.get(parts[0], 0)  # a model stands at the top
            name = "/".join(parts[start : start + 2])
            if name in site.denied:
                status, code = site.denied[name]
                return self.answer(status, b"{}", {"X-Error-Code": code})
            if name not in site.datasets:
                return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            if parts[0] == "api":
                return self.listing(name, parts[4:])
            return self.file(name, path.split("/resolve/", 1)[1])

        def listing(self, name: str, rest: list[str]) -> None:
            revision = "/".join(rest[1:]) if rest else "main"
            if revision.startswith("main/"):  # a folder that no repository here has
                return self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            files = site.files(name, revision)
            if files is None:
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            sha = CONVERTED if "convert" in revision or revision == CONVERTED else SHA
            if rest[:1] == ["tree"]:
                tree = [
                    {"type": "file", "path": file, "size": len(data), "oid": "0" * 40}
                    for file, data in files.items()
                ]
                return self.answer(200, json.dumps(tree).encode(), {})
            siblings = [{"rfilename": file} for file in files]
            info = {"id": name, "sha": sha, "siblings": siblings, "tags": [], "private": False}
            return self.answer(200, json.dumps(info).encode(), {})

        def file(self, name: str, rest: str) -> None:
            revision, file = rest.split("/", 1)
            data = (site.files(name, revision) or {}).get(file)
            if data is None:
                return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            commit = SHA if revision == "main" else revision
            return self.answer(200, data, {"ETag": etag, "X-Repo-Commit": commit})

    with serving(HubAnswers) as site.url:
        yield site
