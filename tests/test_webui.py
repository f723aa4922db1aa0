"""LLaMA Board as a user meets it: pick a prepared dataset, look at it, train on it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from fine_tuning.cli import webui
from fine_tuning.cli.listening import port_to_listen_on
from fine_tuning.dataset.prepare.register import dataset_entry, register
from fine_tuning.engine.process.launch import free_port
from fine_tuning.errors import EnvironmentProblem, UsageError
from tests.browser import launch, needs_chromium
from tests.commands import command, hear_ctrl_c

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Served:
    process: subprocess.Popen[str]
    url: str
    runs: str
    log: Path


@contextmanager
def serving(cwd: Path, *words: str) -> Iterator[Served]:
    """`webui` in a folder, from its start to its end by Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, os.fspath(ROOT / "llama_factory_fine_tuning.py"), "webui", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hear_ctrl_c,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": os.fspath(cwd / "cache")},
    )
    try:
        yield announced(process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def announced(process: subprocess.Popen[str]) -> Served:
    """What the command prints once the page answers."""
    late = threading.Timer(300, process.kill)
    late.start()
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if line.startswith("Ctrl-C"):
            break
    late.cancel()
    text = "".join(said)
    url, log = re.search(r"LLaMA Board: (\S+)", text), re.search(r"Its output: (\S+)", text)
    runs = re.search(r"Runs in runs and their reports: (\S+)", text)
    assert url and runs and log, text
    return Served(process, url[1], runs[1], Path(log[1]))


def alive(pids: list[int]) -> list[int]:
    return [
        pid
        for pid in pids
        if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    ]


def wait_until(condition: object, seconds: float) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def test_a_taken_port_is_named_and_without_port_another_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"Port {taken} on 127.0.0.1 is taken") as told:
            port_to_listen_on("127.0.0.1", taken, webui.USUAL_PORT)
        assert "leave --port out" in str(told.value)
        assert port_to_listen_on("127.0.0.1", None, taken) != taken


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match="is not a port"):
        port_to_listen_on("127.0.0.1", port, webui.USUAL_PORT)


def test_a_foreign_address_is_refused() -> None:
    with pytest.raises(EnvironmentProblem, match="is not an address of this machine"):
        port_to_listen_on("no.such.host.invalid", None, webui.USUAL_PORT)


def test_the_environment_reports_nothing_home_and_finds_the_engine() -> None:
    found = webui.environment({"PATH": "/bin", "no_proxy": "hub.local"})
    assert found["PATH"].startswith(str(Path(sys.executable).parent) + os.pathsep)
    assert found["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert found["no_proxy"] == "hub.local,127.0.0.1,localhost"


@pytest.mark.engine
def test_an_earlier_board_is_not_disturbed_and_killing_leaves_no_orphan(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        done = subprocess.run(
            [
                sys.executable,
                os.fspath(ROOT / "llama_factory_fine_tuning.py"),
                *("webui", "--port", str(taken)),
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
        )
    assert done.returncode == 1
    assert f"Port {taken} on 127.0.0.1 is taken" in done.stderr
    with serving(tmp_path) as served:
        answers_its_own_pages_only(served.url)
        assert asked(served.runs, {}) == 200
        assert asked(served.runs, {"Host": "evil.example"}) == 403
        board = [child.pid for child in psutil.Process(served.process.pid).children(recursive=True)]
        assert alive(board)
        addresses = {item.laddr.ip for item in listening(board)}
        assert addresses == {"127.0.0.1"}
        served.process.kill()
        wait_until(lambda: not alive(board), 20)


def answers_its_own_pages_only(url: str) -> None:
    """A page that the browser had open could read any text file, and start trainings."""
    port = url.rpartition(":")[2]
    read = "/gradio_api/run/predict"
    for headers, status in (
        ({}, 200),
        ({"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"}, 200),
        ({"Host": f"evil.example:{port}"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ):
        assert asked(url, headers) == status, headers
    for path in (read, "/gradio_api/upload", "/gradio_api/queue/join"):
        assert asked(url + path, {"Origin": "http://evil.example"}, b"{}") == 403
        assert asked(url + path, {"Host": "evil.example"}, b"{}") == 403
        assert asked(url + path, {"Sec-Fetch-Site": "cross-site"}, b"{}") == 403
        assert asked(url + path, {}, b"{}") != 403


def asked(url: str, headers: dict[str, str], body: bytes | None = None) -> int:
    """The status of the answer to a request with forged headers."""
    found = urlsplit(url)
    connection = http.client.HTTPConnection(str(found.hostname), found.port, timeout=30)
    kind = {"Content-Type": "application/json"} if body else {}
    connection.request("POST" if body else "GET", found.path or "/", body, {**kind, **headers})
    return connection.getresponse().status


def listening(pids: list[int]) -> list[Any]:
    return [
        item
        for pid in pids
        for item in psutil.Process(pid).net_connections("tcp")
        if item.status == psutil.CONN_LISTEN
    ]


@pytest.mark.engine
@needs_chromium
def test_a_prepared_dataset_is_picked_previewed_and_trained_in_the_browser(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    from tests.models import build_model

    model = build_model(tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in chat_rows(40)), encoding="utf-8")
    columns = frozenset({"conversations", "system", "tools"})
    register(tmp_path / "data", {"my_chat": dataset_entry("chat", columns, str(rows))})
    with serving(tmp_path) as served, sync_playwright() as playwright:
        browser = launch(playwright)
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 1800})
            page.set_default_timeout(180_000)  # two test files share two cores
            page.goto(served.url)
            choose(page, "Model name", "Custom")
            page.get_by_label("Model path").first.fill(str(model))
            choose(page, "Dataset", "my_chat")
            page.get_by_role("button", name="Preview dataset").first.click()
            page.get_by_text("question 0").first.wait_for()
            page.screenshot(path=tmp_path / "preview.png")
            page.get_by_role("button", name="Close").first.click()
            choose(page, "Compute type", "fp32")
            page.get_by_label("Epochs").first.fill("1.0")
            page.get_by_role("button", name="Start").first.click()
            page.get_by_text("Finished.").first.wait_for(timeout=300_000)
            page.screenshot(path=tmp_path / "trained.png", full_page=True)
        finally:
            browser.close()
    assert served.process.returncode == 0  # Ctrl-C is how a server ends
    adapters = list((tmp_path / "saves" / "Custom" / "lora").rglob("adapter_model.safetensors"))
    assert adapters, served.log.read_text()[-3000:]
    log = adapters[0].with_name("trainer_log.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["percentage"] == 100.0


@pytest.mark.engine
@needs_chromium
def test_llamafactorys_own_command_shows_the_prepared_datasets(tmp_path: Path) -> None:
    """`llamafactory-cli webui`, started by hand in the folder where a run was made."""
    from playwright.sync_api import sync_playwright

    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in chat_rows(3)), encoding="utf-8")
    columns = frozenset({"conversations", "system", "tools"})
    register(tmp_path / "data", {"my_chat": dataset_entry("chat", columns, str(rows))})
    port = free_port()
    address = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    board = subprocess.Popen(
        [Path(sys.executable).with_name("llamafactory-cli"), "webui"],
        cwd=tmp_path,
        env={**webui.environment(os.environ), **address, "BROWSER": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: listening([board.pid]), 180)
        with sync_playwright() as playwright:
            browser = launch(playwright)
            page = browser.new_page(viewport={"width": 1400, "height": 1800})
            page.set_default_timeout(120_000)
            page.goto(f"http://127.0.0.1:{port}")
            choose(page, "Model name", "Custom")  # once this is done, Board has set up its page
            choose(page, "Dataset", "my_chat")
            page.get_by_role("button", name="Preview dataset").first.click()
            page.get_by_text("question 0").first.wait_for()
            browser.close()
    finally:
        board.kill()
        board.wait()


@pytest.mark.slow
@pytest.mark.engine
@needs_chromium
def test_board_opens_with_the_last_run_speaks_with_it_and_exports_it(tmp_path: Path) -> None:
    """Its model and template stand there, and its adapter is among the checkpoints."""
    from playwright.sync_api import sync_playwright

    made = command("--max_steps", 2, "--score_samples", 0, "--output_dir", "runs/a", cwd=tmp_path)
    assert made.returncode == 0, made.stdout
    with serving(tmp_path) as served, sync_playwright() as playwright:
        browser = launch(playwright)
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 1800})
            page.set_default_timeout(180_000)
            page.goto(served.url)

            def says(text: str) -> None:
                box = "[...document.querySelectorAll('textarea, input')]"
                page.wait_for_function(f"t => {box}.some(e => e.value.includes(t))", arg=text)

            says("qwen3_nothink")
            assert page.get_by_label("Model name", exact=True).first.input_value() == "Custom"
            assert page.get_by_label("Model path").first.input_value().endswith("demo_model")
            choose(page, "Checkpoint path", "runs/a")
            page.get_by_role("tab", name="Chat").click()
            page.get_by_role("button", name="Load model", exact=True).click()
            says("Model loaded")
            page.get_by_placeholder("Input...").first.fill("What is the currency of Jordan?")
            page.get_by_role("button", name="Submit").first.click()
            page.locator(".bot.message").first.wait_for()
            page.get_by_role("tab", name="Export").click()
            page.get_by_label("Export dir").fill(str(tmp_path / "exported"))
            page.get_by_role("button", name="Export", exact=True).click()
            says("Model exported")
        finally:
            browser.close()
    assert (tmp_path / "exported" / "model.safetensors").is_file()


def chat_rows(count: int) -> list[dict[str, object]]:
    return [
        {
            "conversations": [
                {"from": "user", "value": f"question {number}"},
                {"from": "assistant", "value": f"answer {number}"},
            ],
            "system": "",
            "tools": "",
        }
        for number in range(count)
    ]


def choose(page: object, label: str, value: str) -> None:
    """Pick a value of one of Board's drop-down lists.

    A list that Board fills anew while it is open has no label for a moment: what is typed goes to
    the box that has the focus, and the choice is made in the list that is open.
    """
    from playwright.sync_api import Page, TimeoutError

    assert isinstance(page, Page)
    option = page.get_by_role("option", name=value, exact=True).locator("visible=true").first
    page.get_by_label(label, exact=True).locator("visible=true").first.click()
    try:
        option.click(timeout=5_000)
    except TimeoutError:  # a long list shows it when it is searched for
        page.keyboard.type(value)
        option.click()
