"""The list of runs and their reports, as a browser asks for them on this machine."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fine_tuning.cli.runs.served import served_runs
from tests.run.records import FINISHED, written

LOCAL = "127.0.0.1"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    for name in ("one", "下 two"):
        written(FINISHED, folder / name)
        (folder / name / "report.html").write_text(f"the report of {name}", encoding="utf-8")
    (tmp_path / "secret").write_text("secret")
    (folder / "no run").mkdir()
    (folder / "no run" / "report.html").write_text("of nobody")
    written(FINISHED, folder / "linked")
    (folder / "linked" / "report.html").symlink_to(tmp_path / "secret")
    return folder


@contextmanager
def asking(folder: Path) -> Iterator[http.client.HTTPConnection]:
    with served_runs(folder, LOCAL, 0, "http://127.0.0.1:7860") as port:
        yield http.client.HTTPConnection(LOCAL, port, timeout=30)


def test_runs_are_listed_with_links_to_their_reports(runs: Path) -> None:
    with asking(runs) as server:
        server.request("GET", "/")
        page = server.getresponse().read().decode()
        assert 'href="/one/report.html"' in page
        assert 'href="http://127.0.0.1:7860"' in page
        assert "no run" not in page
        server.request("GET", "/%E4%B8%8B%20two/report.html")
        assert server.getresponse().read().decode() == "the report of 下 two"
        (runs / "later").mkdir()
        (runs / "one").rename(runs / "later" / "one")
        server.request("GET", "/")
        assert 'href="/later/one/report.html"' in server.getresponse().read().decode()


@pytest.mark.parametrize(
    "address",
    [
        "/secret",
        "/../secret",
        "/one/../../secret",
        "/%2e%2e/secret",
        "/one/run.json",
        "/no%20run/report.html",
        "/linked/report.html",
        "//etc/passwd",
    ],
)
def test_nothing_else_is_answered(runs: Path, address: str) -> None:
    with asking(runs) as server:
        server.request("GET", address)
        answer = server.getresponse()
        assert answer.status == 404
        assert b"secret" not in answer.read()


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Host": ""}]
)
def test_pages_of_others_read_nothing(runs: Path, headers: dict[str, str]) -> None:
    with asking(runs) as server:
        server.request("GET", "/one/report.html", headers=headers)
        answer = server.getresponse()
        assert (answer.status, b"report of one" in answer.read()) == (403, False)


def test_without_runs_the_page_says_so(tmp_path: Path) -> None:
    with asking(tmp_path / "runs") as server:
        server.request("GET", "/")
        assert "No run lies here yet." in server.getresponse().read().decode()
