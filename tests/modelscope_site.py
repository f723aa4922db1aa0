"""ModelScope on 127.0.0.1: the few answers that its real client asks for."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.local_site import Answers, serving

JSON = {"Content-Type": "application/json"}


@dataclass
class Site:
    """Repositories as (`models` or `datasets`, name) -> file -> content."""

    repositories: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def add_model(self, name: str, folder: Path) -> None:
        """Serve the files of a model directory."""
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        self.repositories["models", name] = files


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """The site under a free port while the block runs."""

    class HubAnswers(Answers):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            site.asked.append(f"{self.command} {self.path}")
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            parts = url.path.strip("/").split("/")
            if parts[:2] != ["api", "v1"] or len(parts) < 5:
                return self.refuse()
            files = site.repositories.get((parts[2], "/".join(parts[3:5])))
            if files is None:
                return self.refuse()
            what = "/".join(parts[5:])
            if what == "revisions":
                branches = [{"Revision": "master", "CommittedDate": 1}]
                return self.say({"RevisionMap": {"Branches": branches, "Tags": []}})
            if what in ("repo/files", "repo/tree"):
                page = int(asked.get("PageNumber", "1"))
                listed = [self.entry(path, data) for path, data in files.items()]
                listed = listed if page == 1 else []
                return self.say({"Files": listed, "LatestCommitter": None})
            if what == "repo" and asked.get("FilePath") in files:
                return self.part_of(files[asked["FilePath"]])
            return self.refuse()

        def entry(self, path: str, data: bytes) -> dict[str, object]:
            return {
                "Path": path,
                "Name": path.rpartition("/")[2],
                "Size": len(data),
                "Type": "blob",
                "Revision": "master",
                "Sha256": hashlib.sha256(data).hexdigest(),
            }

        def say(self, data: object) -> None:
            body = {"Code": 200, "Data": data, "Success": True, "Message": "", "TotalCount": 1}
            self.answer(200, json.dumps(body).encode(), JSON)

        def refuse(self) -> None:
            body = {"Code": 10010205001, "Success": False, "Message": "not found", "Data": None}
            self.answer(404, json.dumps(body).encode(), JSON)

        def part_of(self, body: bytes) -> None:
            """A file, or the range of it that a download in pieces asks for."""
            wanted = self.headers.get("Range", "")
            if not wanted.startswith("bytes="):
                return self.answer(200, body, {"Content-Type": "application/octet-stream"})
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first or 0), int(last) + 1 if last else len(body)
            span = f"bytes {start}-{start + len(body[start:end]) - 1}/{len(body)}"
            return self.answer(206, body[start:end], {"Content-Range": span})

    with serving(HubAnswers) as site.url:
        yield site
