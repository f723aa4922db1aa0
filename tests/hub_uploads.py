"""A Hugging Face Hub on 127.0.0.1 that takes uploads: the answers that the real client asks for.

Large files go by the LFS protocol, where a `PUT` can be made to break off.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.local_site import Answers, serving

LARGE = ("adapter_model.safetensors", "model.safetensors", "tokenizer.json")
COMMIT = "c" * 40


@dataclass
class Site:
    """What was made and sent: repositories by name as file -> content, and who may read them."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)  # metadata of base models
    stored: dict[str, bytes] = field(default_factory=dict)  # large files by their sha256
    puts: list[str] = field(default_factory=list)
    breaks: dict[str, int] = field(default_factory=dict)  # sha256 -> how often it breaks off
    refuses: int = 0  # status of every attempt to make a repository
    tokens: set[str] = field(default_factory=set)
    url: str = ""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """The site under a free port while the block runs."""

    class HubAnswers(Answers):
        def say(self, known: object, status: int = 200, code: str = "") -> None:
            body = json.dumps(known).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            site.tokens.add(self.headers.get("Authorization", ""))
            if path == "api/whoami-v2":
                return self.say({"type": "user", "name": "me", "orgs": []})
            if "/xet-" in path:  # a hub without that storage, as mirrors are
                return self.say({"error": "Not Found"}, 404)
            name = "/".join(path.removeprefix("api/models/").split("/")[:2])
            if path.startswith("api/") and name in site.cards:
                card = site.cards[name]
                return self.say({"id": name, "sha": COMMIT, "siblings": [], "cardData": card})
            held = site.repositories.get(name)
            if held is None:
                return self.say({}, 404, "RepoNotFound")
            if path.startswith("api/"):
                siblings = [{"rfilename": file} for file in held]
                private = site.private[name]
                return self.say(
                    {"id": name, "sha": COMMIT, "siblings": siblings, "private": private}
                )
            data = held.get(path.split("/resolve/", 1)[1].split("/", 1)[1])
            if data is None:
                return self.say({}, 404, "EntryNotFound")
            etag = f'"{hashlib.sha1(data).hexdigest()}"'
            return self.answer(200, data, {"ETag": etag, "X-Repo-Commit": COMMIT})

        def do_POST(self) -> None:
            path, body = unquote(urlsplit(self.path).path).strip("/"), self.body()
            if path == "api/validate-yaml":
                return self.say({"errors": [], "warnings": []})
            if path == "api/repos/create":
                return self.make(json.loads(body))
            if path.endswith("/objects/batch"):
                return self.batch(json.loads(body)["objects"])
            if "/preupload/" in path:
                files = [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"] in LARGE else "regular",
                        "shouldIgnore": False,
                    }
                    for file in json.loads(body)["files"]
                ]
                return self.say({"files": files})
            return self.commit("/".join(path.split("/")[2:4]), body)

        def make(self, asked: dict[str, Any]) -> None:
            if site.refuses:
                return self.say({"error": "no"}, site.refuses)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            known = name in site.repositories
            if not known:
                site.repositories[name] = {}
                site.private[name] = asked.get("visibility") == "private"
            return self.say({"url": f"{site.url}/{name}"}, 409 if known else 200)

        def batch(self, objects: list[dict[str, Any]]) -> None:
            answered = []
            for item in objects:
                known = {"oid": item["oid"], "size": item["size"]}
                if item["oid"] not in site.stored:
                    known["actions"] = {"upload": {"href": f"{site.url}/lfs/{item['oid']}"}}
                answered.append(known)
            self.say({"transfer": "basic", "objects": answered})

        def do_PUT(self) -> None:
            digest = self.path.rpartition("/")[2]
            site.puts.append(digest)
            if site.breaks.get(digest, 0) > 0:
                site.breaks[digest] -= 1
                self.close_connection = True
                return  # in the middle: nothing of the body was read
            data = self.body()
            assert hashlib.sha256(data).hexdigest() == digest
            site.stored[digest] = data
            self.say({})

        def commit(self, name: str, body: bytes) -> None:
            for line in body.splitlines():
                item = json.loads(line)
                value = item["value"]
                if item["key"] == "file":
                    site.repositories[name][value["path"]] = base64.b64decode(value["content"])
                elif item["key"] == "lfsFile":
                    site.repositories[name][value["path"]] = site.stored[value["oid"]]
            url = f"{site.url}/{name}/commit/{COMMIT}"
            self.say({"success": True, "commitUrl": url, "commitOid": COMMIT})

    with serving(HubAnswers) as site.url:
        yield site
