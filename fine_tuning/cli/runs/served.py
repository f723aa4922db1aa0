"""The runs below a directory as pages: their list, and the report of each."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from fine_tuning import report
from fine_tuning.cli.runs.listing import COLUMNS, cells, newest_first, run_folders
from fine_tuning.origins import Guard

PAGE = "report.html"


@contextmanager
def served_runs(directory: Path, host: str, port: int, board: str) -> Iterator[int]:
    """Answer on this port of the host, or on a free one, while the block works; gives the port.

    Only the list and the reports of runs that lie there are answered; everything else is 404.
    """

    class Pages(_Pages):
        runs, guard, address = directory, Guard(host), board

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    try:
        server = Server((host, port), Pages)
    except (OSError, OverflowError):  # taken, or behind the last port
        server = Server((host, 0), Pages)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def listed(directory: Path, board: str = "") -> str:
    """The page that lists the runs."""
    rows = [
        report.RunRow(
            cells=cells(item, directory),
            trouble=item.trouble,
            page=address_of(item.path, directory) if item.report else "",
        )
        for item in newest_first(directory)
    ]
    return report.runs_page(str(directory), COLUMNS, rows, board)


def address_of(run: Path, directory: Path) -> str:
    """Where the report of a run is answered."""
    return quote(f"/{(run / PAGE).relative_to(directory).as_posix()}")


def page_at(address: str, directory: Path) -> Path | None:
    """The report that an address names: of a run that lies there, and no link to something else."""
    for run in run_folders(directory):
        page = run / PAGE
        if address == unquote(address_of(run, directory)):
            return page if page.is_file() and not page.is_symlink() else None
    return None


class _Pages(BaseHTTPRequestHandler):
    runs: Path
    guard: Guard
    address: str

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if why := self.guard.refusal(headers, self.command):
            self._answer(HTTPStatus.FORBIDDEN, f"{why}\n".encode(), "text/plain")
            return
        wanted = unquote(urlsplit(self.path).path)
        if wanted == "/":
            self._answer(HTTPStatus.OK, listed(self.runs, self.address).encode())
        elif page := page_at(wanted, self.runs):
            self._answer(HTTPStatus.OK, page.read_bytes())
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"There is no such run.\n", "text/plain")

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/html") -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *known: Any) -> None:
        """The terminal is the user's."""
