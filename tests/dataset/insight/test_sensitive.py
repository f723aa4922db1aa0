"""Likely secrets and personal data: found by kind and length, never shown, few false alarms."""

import random

import pytest

from fine_tuning.dataset.insight.sensitive import find, suspicion

UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def random_token(length: int, seed: int = 0) -> str:
    """Made here, so that no file of the project looks as if it held a key."""
    draw = random.Random(seed)
    body = draw.choices(UPPER + UPPER.lower() + "0123456789", k=length - 3)
    return "".join([*body, "aA1"])


def kinds(text: str) -> list[tuple[str, int]]:
    found = suspicion(text.encode())
    return [(f.kind, f.length) for f in find(text, found)] if found else []


SECRETS = {
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "AWS access key": "AKIA" + "Q7ZX5KDLM2PN4RTB",
    "GitHub token": "ghp_" + random_token(36),
    "API key (sk-...)": "sk-" + "proj-" + random_token(48),
    "Hugging Face token": "hf_" + random_token(34),
    "Slack token": "xoxb-" + "123456789012-" + random_token(24),
    "Google API key": "AIza" + random_token(35),
    "JSON web token": "eyJ" + random_token(20) + ".eyJ" + random_token(40) + "." + random_token(43),
}


@pytest.mark.parametrize(("kind", "secret"), SECRETS.items())
def test_a_secret_is_named_by_kind_and_length(kind: str, secret: str) -> None:
    for text in (f"export KEY={secret}\n", f"密钥是{secret}，请保密", f'{{"key": "{secret}"}}'):
        assert kinds(text) == [(kind, len(secret))]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("e-mail address", "write to bob.smith+news@mail.company.co.uk."),
        ("e-mail address", "邮箱zhang_san@qq.com，谢谢"),
        ("phone number", "电话13800138000，"),
        ("phone number", "call +86 138 0013 8000 now"),
        ("phone number", "电话:010-62512345"),
        ("phone number", "call (415) 555-2671"),
        ("phone number", "+44 20 7946 0958"),
        ("payment card number", "card 4539 1488 0343 6467 exp 12/27"),
        ("payment card number", "378282246310005"),
        ("Chinese identity card number", "身份证号11010519491231002X。"),
        ("US social security number", "SSN 123-45-6789"),
    ],
)
def test_personal_data_is_named_by_kind(kind: str, text: str) -> None:
    assert [found for found, _ in kinds(text)] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "a task-specific sk-learn-contrib-project-with-a-very-long-name-in-lower-case",
        "the key AKIAIOSFODNN7EXAMPLE of the documentation",
        "user@example.com, a@b.test and git@github.com:owner/name.git",
        "logo@2x.png and @decorator and x @ y",
        "pi is 3.14159265358979 and e is 2.718281828459045",
        "in 2019-10-12 10:30:00 the id was 20191012103000",
        "timestamp 1699999999999, order 1234567890, 1 000 000 000 people",
        "ISBN 978-3-16-148410-0 and 4539 1488 0343 6468",
        "the test card 4111 1111 1111 1111",
        "身份证号110105194912310021",
        "sum 0000 0000 0000 0000 or 192.168.100.100",
        "the hf_hub_download function and an eyJuYW1l fragment",
        "18014398509481984 bytes and [ +1.12345679+1.12345679j ]",
    ],
)
def test_ordinary_text_raises_no_alarm(text: str) -> None:
    assert kinds(text) == []


@pytest.mark.parametrize(
    "unit",
    ["eyJ", "sk-", "a.", "1 ", "1", "@a.", "(1", "+1-", "-----BEGIN A", "a@", "xoxb-", "hf_"],
)
def test_patterns_take_linear_time(unit: str) -> None:
    """A pattern that backtracks would need minutes for this."""
    kinds((unit * 400_000)[:400_000] + "@")


def test_all_the_numbers_of_a_list_are_seen() -> None:
    assert len(kinds("13800138000 13900139000")) == 2
