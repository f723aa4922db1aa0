"""Serves loaded models over HTTP, each by its name, until it is told to end."""

import asyncio
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import HTTPException
from llamafactory.api.app import create_app
from starlette.responses import JSONResponse

from fine_tuning.engine.worker.chatting.api import (
    USAGE,
    Answering,
    as_known,
    mended_streams,
    require_askable,
)
from fine_tuning.engine.worker.chatting.speaker import speaker_of
from fine_tuning.engine.worker.events import Events
from fine_tuning.errors import EnvironmentProblem
from fine_tuning.origins import App, OwnOriginOnly, Receive, Scope, Send
from fine_tuning.values.answers.chat import Sampling

POLL_S = 0.1
GRACE_S = 5  # for connections that do not end
CHAT = "/v1/chat/completions"


class ByName:
    """ASGI: the models' own API, each request by the model that it names.

    With API_KEY in the environment only those who send it are answered, as by LLaMA-Factory's API.
    """

    def __init__(self, models: Mapping[str, Answering]) -> None:
        self.models = models
        self.apps: Mapping[str, App] = {name: create_app(it) for name, it in models.items()}
        self.first = next(iter(self.apps.values()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.first(scope, receive, send)  # its beginning and end, and its /docs
            return
        if not _has_key(scope):
            await refusal(401, "The key is missing, or another.")(scope, receive, send)
        elif scope["path"] == "/v1/models":
            listed = [{"id": name, "object": "model", "owned_by": "owner"} for name in self.models]
            await JSONResponse({"object": "list", "data": listed})(scope, receive, send)
        elif scope["path"] != CHAT or scope["method"] != "POST":
            await self.first(scope, receive, send)
        else:
            await self._asked(scope, receive, send)

    async def _asked(self, scope: Scope, receive: Receive, send: Send) -> None:
        content, more = b"", True
        while more:
            message = await receive()
            content += message.get("body", b"")
            more = message.get("more_body", False)
        waiting: list[dict[str, Any]] = [{"type": "http.request", "body": content}]

        async def again() -> Any:
            return waiting.pop() if waiting else await receive()

        try:
            body = as_known(json.loads(content))
            name = body["model"]
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ):  # the API says what is wrong with it
            await self.first(scope, again, send)
            return
        if name not in self.models:
            served = ", ".join(self.models)
            text = f"No model {name!a} is served here; there are: {served}."
            await refusal(404, text)(scope, again, send)
            return
        try:
            require_askable(body, self.models[name])
        except HTTPException as error:
            await refusal(error.status_code, str(error.detail))(scope, again, send)
            return
        waiting[0]["body"] = json.dumps(body).encode()
        USAGE.set(bool((body.get("stream_options") or {}).get("include_usage")))
        await self.apps[name](scope, again, send)


def refusal(status: int, text: str) -> JSONResponse:
    """An error in OpenAI's form, which its clients show."""
    return JSONResponse(
        {"error": {"message": text, "type": "invalid_request_error"}, "detail": text}, status
    )


def _has_key(scope: Scope) -> bool:
    key = os.environ.get("API_KEY")
    sent = dict(scope["headers"]).get(b"authorization", b"")
    return not key or secrets.compare_digest(sent, f"Bearer {key}".encode())


@dataclass
class Server:
    """One that runs; `over` ends what is being written."""

    server: uvicorn.Server
    thread: threading.Thread
    over: threading.Event
    mended: ExitStack


RUNNING: list[Server] = []


def begin_serving(
    *,
    events: Events,
    models: Mapping[str, Mapping[str, Any]],
    sampling: Mapping[str, Any],
    system: str,
    host: str,
    port: int,
) -> dict[str, Any]:
    """Serve these models (process/chatting.py: SpokenModel) by their names; returns when requests
    are answered, with the names of those whose calls of functions are given as text.

    Raises EnvironmentProblem for an address that cannot be listened on.
    """
    events.stage("load")
    os.environ.setdefault("API_VERBOSE", "0")  # it would write every question to the log
    over, turn = threading.Event(), asyncio.Lock()
    answering = {
        name: Answering(speaker_of(model), Sampling(**sampling), system, turn=turn, over=over)
        for name, model in models.items()
    }
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise EnvironmentProblem(
            f"{host} port {port} cannot be listened on.", why=str(error), fix="give another --port"
        ) from error
    mended = ExitStack()
    mended.enter_context(mended_streams())
    app = OwnOriginOnly(ByName(answering), host)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(POLL_S)
    RUNNING.append(Server(server, thread, over, mended))
    return {"silent": [name for name, it in answering.items() if not it.reads_calls]}


def serve_until(*, events: Events, stop_path: str) -> dict[str, Any]:
    """Return when the file `stop_path` is there, and the servers have ended; or when one has ended
    by itself."""
    events.stage("serve")
    while all(it.thread.is_alive() for it in RUNNING) and not Path(stop_path).exists():
        time.sleep(POLL_S)
    asked = Path(stop_path).exists()
    while RUNNING:
        running = RUNNING.pop()
        running.over.set()
        running.server.should_exit = True
        running.thread.join()
        running.mended.close()
    return {"asked": asked}
