"""`chat --port`: what LLaMA-Factory's API serves here is what was trained."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from fine_tuning.cli.chat.serving import instructions, served_at
from fine_tuning.engine.process.launch import free_port
from fine_tuning.ship.proving.causes import judge
from fine_tuning.values.answers.chat import Sampling
from tests.contracts import HERE, Trained, build_trained

pytestmark = pytest.mark.engine
# LLaMA-Factory's API would open it: a file of this machine, or an address.
PICTURE = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/secret.png"}}
NAMES = ["tuned", "base"]
HELLO = [{"role": "user", "content": "What is a shard?"}]


@dataclass(frozen=True)
class Site:
    """A server, and what it serves."""

    url: str
    trained: Trained

    def post(self, body: Mapping[str, Any], **headers: str) -> httpx.Response:
        path = f"{self.url}/v1/chat/completions"
        return httpx.post(path, json=dict(body), headers=headers, timeout=120)

    def asked(self, **body: Any) -> httpx.Response:
        return self.post({"model": "tuned", "messages": HELLO, **body})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The adapter and its base, by the two requests of the command."""
    from fine_tuning.engine.process.chatting import SpokenModel, with_adapters

    folder = tmp_path_factory.mktemp("served")
    trained = build_trained(folder)
    served = {"chat_template": None, "stops": [], "stop_ids": [2], "thinking": None}
    settings = {"model_name_or_path": str(trained.base), "template": "empty"}
    voices = with_adapters(
        SpokenModel(settings=settings, served=served), {"tuned": str(trained.adapter)}
    )
    port = free_port()
    request = {
        "models": {name: asdict(model) for name, model in voices.by_name.items()},
        "sampling": asdict(Sampling(max_new_tokens=16)),
        "system": "",
        "host": "127.0.0.1",
        "port": port,
    }
    assert HERE.request("begin_serving", request) == {"silent": []}
    yield Site(f"http://127.0.0.1:{port}", trained)
    (folder / "stop").touch()
    assert HERE.request("serve_until", {"stop_path": str(folder / "stop")}) == {"asked": True}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/v1/models")


def test_every_conversation_of_the_contract_is_answered_as_was_trained(
    site: Site, tmp_path: Path
) -> None:
    """Also where a call stands in the history, which LLaMA-Factory's own engine asks otherwise
    (tests/ship/proving/test_servers.py)."""
    verdict = judge(
        site.trained.contract, site.trained.asking(tmp_path).of_server(site.url, "tuned")
    )
    assert verdict.holds, verdict.findings
    assert {one.prompt for one in verdict.conversations} == {"equal"}
    assert {one.answer for one in verdict.conversations} <= {"equal", "close"}


def test_the_base_under_its_own_name_is_told_from_the_adapter(site: Site, tmp_path: Path) -> None:
    verdict = judge(
        site.trained.contract, site.trained.asking(tmp_path).of_server(site.url, "base")
    )
    assert not verdict.holds


def test_a_name_that_is_not_served_is_refused_with_those_that_are(site: Site) -> None:
    listed = httpx.get(f"{site.url}/v1/models").json()["data"]
    assert [it["id"] for it in listed] == ["tuned", "base"]
    answer = site.asked(model="gpt-3.5-turbo")
    assert answer.status_code == 404
    assert "there are: tuned, base" in answer.json()["error"]["message"]


def test_a_stream_is_the_answer_and_says_that_it_was_cut(site: Site) -> None:
    whole = site.asked(max_tokens=3).json()["choices"][0]
    lines = site.asked(max_tokens=3, stream=True).text.splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    parts = [chunk["choices"][0] for chunk in chunks]
    assert "".join(it["delta"].get("content", "") for it in parts) == whole["message"]["content"]
    assert (whole["finish_reason"], parts[-1]["finish_reason"]) == ("length", "length")


def test_a_client_of_today_limits_the_answer_and_counts_a_stream(site: Site) -> None:
    lines = site.asked(
        max_completion_tokens=3,
        stream=True,
        stream_options={"include_usage": True},
        response_format={"type": "text"},
        seed=1,
    ).text.splitlines()
    *_, usage, done = [line[6:] for line in lines if line.startswith("data: ")]
    assert done == "[DONE]"
    told = json.loads(usage)
    assert told["choices"] == [] and told["id"].startswith("chatcmpl-")
    assert told["usage"]["completion_tokens"] == 3 < told["usage"]["prompt_tokens"]


def test_requests_at_once_are_all_answered(site: Site) -> None:
    """One after the other; one whose client leaves in the middle makes room."""
    alone = site.asked(max_tokens=8).json()["choices"][0]["message"]["content"]
    with httpx.stream(
        "POST",
        f"{site.url}/v1/chat/completions",
        json={"model": "tuned", "messages": HELLO, "stream": True, "max_tokens": 4000},
        timeout=120,
    ) as left:
        next(left.iter_lines())
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda name: site.asked(model=name, max_tokens=8), NAMES * 2)]
    assert [it.status_code for it in answers] == [200] * 4
    said = [it.json()["choices"][0]["message"]["content"] for it in answers]
    assert said[0] == said[2] == alone and said[1] == said[3]


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ({"stop": ["\n"]}, "`stop` is not served"),
        ({"presence_penalty": 1.0}, "`presence_penalty` is not served"),
        ({"temperature": -1}, "temperature must be 0 or more"),
        ({"messages": [{"role": "user", "content": "river " * 9000}]}, "the model reads"),
        ({"messages": []}, "Invalid length"),
        ({"response_format": {"type": "json_object"}}, "`response_format` is not served"),
        ({"logprobs": True}, "`logprobs` is not served"),
        ({"seed": 1, "temperature": 1.0}, "`seed` is not served"),
        (
            {"messages": [{"role": "user", "content": [PICTURE]}]},
            "Pictures, videos and sounds are not served here.",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_refused_before_the_answer_begins(
    site: Site, wish: dict[str, Any], text: str, stream: bool
) -> None:
    answer = site.asked(stream=stream, **wish)
    assert answer.status_code == 400 and text in answer.json()["error"]["message"]


def test_another_page_and_another_name_of_this_machine_are_refused(site: Site) -> None:
    body = {"model": "tuned", "messages": HELLO}
    assert site.post(body, Origin="http://evil.example").status_code == 403
    assert site.post(body, Host="evil.example").status_code == 403


def test_a_key_is_asked_for_where_one_is_set(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    assert site.asked().status_code == 401
    assert httpx.get(f"{site.url}/v1/models").status_code == 401
    listed = httpx.get(f"{site.url}/v1/models", headers={"Authorization": "Bearer secret"})
    assert listed.status_code == 200


def test_the_instructions_can_be_followed() -> None:
    lines = instructions(served_at("127.0.0.1", 8000, ["a", "base"]), "127.0.0.1", [])
    assert "curl http://127.0.0.1:8000/v1/chat/completions" in lines[1]
    assert json.loads(lines[2].split("-d ")[1].strip("'"))["model"] == "a"
    assert not any("reach" in line for line in lines)
    exposed = instructions(served_at("0.0.0.0", 80, ["a"]), "0.0.0.0", ["a"])
    assert "Everybody who can reach 0.0.0.0 can use it: there is no password." in exposed
