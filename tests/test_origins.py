"""A server of ours answers the pages that it served itself, and nobody else's."""

import pytest

from fine_tuning.origins import Guard


@pytest.mark.parametrize(
    ("served", "host", "answered"),
    [
        ("127.0.0.1", "127.0.0.1:7860", True),
        ("127.0.0.1", "LOCALHOST:9000", True),  # through a tunnel
        ("::1", "[::1]:7860", True),
        ("127.0.0.1", "192.168.1.5:7860", False),
        ("127.0.0.1", "evil.example:7860", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "localhost@evil.example", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "[::1", False),
        ("0.0.0.0", "192.168.1.5:7860", True),
        ("0.0.0.0", "evil.example", False),
        ("gpu.example", "GPU.example:7860", True),
    ],
)
def test_only_names_of_this_machine_are_answered(served: str, host: str, answered: bool) -> None:
    assert (Guard(served).refusal({"host": host}, "GET") == "") == answered


@pytest.mark.parametrize(
    ("method", "headers", "answered"),
    [
        ("POST", {"origin": "http://127.0.0.1:7860"}, True),
        ("POST", {"origin": "https://127.0.0.1:7860"}, True),  # behind a proxy with encryption
        ("POST", {"origin": "http://127.0.0.1:8000"}, False),
        ("GET", {"origin": "http://evil.example"}, False),
        ("POST", {"origin": "null"}, False),
        ("POST", {"sec-fetch-site": "cross-site"}, False),
        ("GET", {"sec-fetch-site": "cross-site"}, True),  # a link to it
        ("POST", {"sec-fetch-site": "same-origin"}, True),
    ],
)
def test_only_pages_of_its_own_may_ask(
    method: str, headers: dict[str, str], answered: bool
) -> None:
    guard = Guard("127.0.0.1")
    refused = guard.refusal({"host": "127.0.0.1:7860", **headers}, method)
    assert (refused == "") == answered
