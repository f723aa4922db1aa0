"""Requests to a server of somebody else's, and what its refusals mean."""

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import httpx

from fine_tuning.errors import EnvironmentProblem, UsageError

KEY = "PROVE_API_KEY"  # of the server; not OPENAI_API_KEY, which is no other server's business
SECONDS = 600.0  # a large model on a slow machine takes its time for 32 tokens


class Refused(Exception):
    """The server answered with an HTTP status other than success."""

    def __init__(self, status: int, text: str):
        super().__init__(f"HTTP status {status}: {text[:300]}")
        self.status = status


class Site:
    """A server by its address; a context manager that closes the connection."""

    def __init__(self, url: str) -> None:
        address = httpx.URL(url)
        if address.scheme not in ("http", "https") or not address.host:
            raise UsageError(
                f"--url {url} is no address of a server.", fix="for example http://127.0.0.1:8080"
            )
        self.url = url.rstrip("/").removesuffix("/v1")
        key = os.environ.get(KEY)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=self.url, headers=headers, timeout=SECONDS)

    def __enter__(self) -> "Site":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        """The JSON at this path; None if there is none."""
        try:
            return self._ask("GET", path)
        except Refused as refused:
            if refused.status in (401, 403):
                raise self._locked(refused) from refused
            return None

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What the server answers. Raises Refused, EnvironmentProblem if it cannot be reached."""
        try:
            return self._ask("POST", path, json=dict(body))
        except Refused as refused:
            if refused.status in (401, 403):
                raise self._locked(refused) from refused
            raise

    def _ask(self, how: str, path: str, **more: Any) -> Any:
        try:
            response = self._client.request(how, path, **more)
        except httpx.HTTPError as error:
            raise EnvironmentProblem(
                f"The server at {self.url} does not answer.",
                why=f"{type(error).__name__}: {error}",
                fix="look whether it runs, and whether --url has its address and port",
            ) from error
        if not response.is_success:
            raise Refused(response.status_code, response.text)
        try:
            return response.json()
        except ValueError:
            return None

    def _locked(self, refused: Refused) -> EnvironmentProblem:
        return EnvironmentProblem(
            f"The server at {self.url} wants a key.",
            why=str(refused),
            fix=f"set {KEY} to its key and repeat the command",
        )
