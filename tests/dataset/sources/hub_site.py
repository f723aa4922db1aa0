"""A Hugging Face Hub on 127.0.0.1: the few answers that the real client asks for."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tests.local_site import Answers, serving

SHA = "a" * 40
CONVERTED = "b" * 40


def git_id(data: bytes) -> str:
    """Git's name of a file's content."""
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


@dataclass
class Site:
    """Repositories by name, as file -> content; `denied` maps a name to (status, error code)."""

    datasets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    converted: dict[str, dict[str, bytes]] = field(default_factory=dict)
    denied: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    breaks: dict[str, list[int]] = field(default_factory=dict)  # file -> bytes that it still sends
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
                    {"type": "file", "path": file, "size": len(data), "oid": git_id(data)}
                    for file, data in files.items()
                ]
                return self.answer(200, json.dumps(tree).encode(), {})
            siblings = [
                {"rfilename": file, "size": len(data), "blobId": git_id(data)}
                for file, data in files.items()
            ]
            info = {"id": name, "sha": sha, "siblings": siblings, "tags": [], "private": False}
            return self.answer(200, json.dumps(info).encode(), {})

        def file(self, name: str, rest: str) -> None:
            revision, file = rest.split("/", 1)
            data = (site.files(name, revision) or {}).get(file)
            if data is None:
                return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            commit = SHA if revision == "main" else revision
            headers = {"ETag": etag, "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
            first = self.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
            status, body = 200, data
            if first:
                site.ranges.append(f"{file} from {first}")
                headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
                status, body = 206, data[int(first) :]
            if self.command == "GET" and site.breaks.get(file):
                return self.broken_off(status, body, site.breaks[file].pop(0), headers)
            return self.answer(status, body, headers)

        def broken_off(
            self, status: int, data: bytes, after: int, headers: Mapping[str, str]
        ) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data[:after])
            self.close_connection = True

    with serving(HubAnswers) as site.url:
        yield site
