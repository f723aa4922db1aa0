"""Likely secrets and personal data: what kind it is and where, never the thing itself.

Every pattern is linear in the length of the text: it starts only where a run of its own characters
starts, and what it repeats is bounded. Cheap tests on the raw row (of many rows at once: SUSPECT)
decide whether any pattern is tried at all.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SECRET = "secret"
PERSONAL_DATA = "personal_data"


@dataclass(frozen=True, slots=True)
class Finding:
    """A likely secret or piece of personal data: its code, its kind, and its length."""

    code: str
    kind: str
    length: int


@dataclass(frozen=True, slots=True)
class _Token:
    """A credential that begins with one of its markers; `hint` is in all of them and is rare."""

    kind: str
    hint: bytes
    markers: tuple[bytes, ...]
    pattern: re.Pattern[str]
    is_real: Callable[[str], bool]


def _not_an_example(token: str) -> bool:
    return "EXAMPLE" not in token and "xxxx" not in token.lower()


def _mixes_characters(token: str) -> bool:
    """Random keys hold digits and capitals; `sk-learn-contrib-project` does not."""
    body = token.partition("-")[2] or token.partition("_")[2]
    return (
        _not_an_example(token)
        and any(map(str.isdigit, body))
        and any(map(str.isupper, body))
        and any(map(str.islower, body))
    )


_TOKENS = (
    _Token(
        "private key",
        b"-----BEGIN",
        (b"-----BEGIN",),
        re.compile(r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
        _not_an_example,
    ),
    _Token(
        "AWS access key",
        b"IA",
        (b"AKIA", b"ASIA"),
        re.compile(r"(?<![A-Za-z0-9])A[KS]IA[0-9A-Z]{16}(?![A-Za-z0-9])"),
        _not_an_example,
    ),
    _Token(
        "GitHub token",
        b"_",
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
        re.compile(
            r"(?<![A-Za-z0-9_])(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})"
        ),
        _mixes_characters,
    ),
    _Token(
        "API key (sk-...)",
        b"sk-",
        (b"sk-",),
        re.compile(r"(?<![A-Za-z0-9_-])sk-[A-Za-z0-9_-]{32,255}"),
        _mixes_characters,
    ),
    _Token(
        "Hugging Face token",
        b"_",
        (b"hf_",),
        re.compile(r"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{30,64}(?![A-Za-z0-9_])"),
        lambda token: _not_an_example(token) and token[3:] != token[3:].lower(),
    ),
    _Token(
        "Slack token",
        b"xox",
        (b"xox",),
        re.compile(r"(?<![A-Za-z0-9-])xox[abeprs]-[A-Za-z0-9-]{10,255}"),
        lambda token: _not_an_example(token) and any(map(str.isdigit, token)),
    ),
    _Token(
        "Google API key",
        b"AIza",
        (b"AIza",),
        re.compile(r"(?<![A-Za-z0-9_-])AIza[0-9A-Za-z_-]{35}(?![A-Za-z0-9_-])"),
        _not_an_example,
    ),
    _Token(
        "JSON web token",
        b"eyJ",
        (b"eyJ",),
        re.compile(
            r"(?<![A-Za-z0-9_.-])eyJ[A-Za-z0-9_-]{8,2048}\.eyJ[A-Za-z0-9_-]{8,4096}"
            r"\.[A-Za-z0-9_-]{16,1024}"
        ),
        _not_an_example,
    ),
)

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@((?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24})"
    r"(?![A-Za-z0-9-])"
)
# RFC 2606 and 6761 reserve these for documentation; `git@host` is an address of code.
_EXAMPLE_DOMAIN = re.compile(
    r"(?:^|\.)(?:example|test|invalid|localhost|local)(?:\.(?:com|org|net|edu))?$", re.IGNORECASE
)
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")  # logo@2x.png

_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_+-])(?<![0-9][.,])[+(]{0,2}[0-9](?:[ ().-]{0,2}[0-9]){8,21}(?![0-9A-Za-z_])"
    r"|(?<![A-Za-z0-9])[1-9][0-9]{16}[Xx](?![A-Za-z0-9])"
)
_SSN = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}", re.ASCII)
_NORTH_AMERICA = re.compile(
    r"(?:\+?1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])[2-9]\d{2}[.-]\d{4}", re.ASCII
)
_CHINA_MOBILE = re.compile(r"(?:\+?86[ -]?)?1[3-9]\d(?:\d{8}|([ -])\d{4}\1\d{4})", re.ASCII)
_CHINA_LANDLINE = re.compile(r"0(?:10|2\d|[3-9]\d{2})-\d{7,8}", re.ASCII)
_INTERNATIONAL = re.compile(r"\+[1-9](?:[ ()-]{0,2}\d){7,14}", re.ASCII)
_CARD_SHAPE = re.compile(r"\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{5}")
_CARD_ISSUER = re.compile(r"4|5[1-5]|2[2-7]|3[47]|35|6011|64|65|62")

# What `suspicion` asks of a raw row, as one regular expression: insight/suspects.py.
SUSPECT = "|".join(
    [
        *(re.escape(marker.decode()) for token in _TOKENS for marker in token.markers),
        "@",
        r"[0-9](?:[ ().-]*[0-9]){8}",
    ]
)

_ZERO = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))  # every digit becomes 0


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Which patterns are worth trying on the texts of a row."""

    tokens: tuple[_Token, ...]
    emails: bool
    numbers: bool


def suspicion(line: bytes) -> Suspicion | None:
    """A cheap test on the raw row: None means that no pattern of this module can match."""
    tokens = [
        token
        for token in _TOKENS
        if token.hint in line and any(marker in line for marker in token.markers)
    ]
    emails = b"@" in line
    numbers = b"000000000" in line.translate(_ZERO, b" ().-")  # nine digits, separators left out
    if not (tokens or emails or numbers):
        return None
    return Suspicion(tuple(tokens), emails, numbers)


def find(text: str, suspicion: Suspicion) -> Iterator[Finding]:
    """The likely secrets and personal data of one text."""
    for token in suspicion.tokens:
        for match in token.pattern.finditer(text):
            if token.is_real(match[0]):
                yield Finding(SECRET, token.kind, len(match[0]))
    if suspicion.emails:
        for match in _EMAIL.finditer(text):
            if _is_personal_address(match[0], match[1]):
                yield Finding(PERSONAL_DATA, "e-mail address", len(match[0]))
    if suspicion.numbers:
        yield from _find_numbers(text)


def masked(text: str) -> str:
    """A text for a message: each likely secret or personal datum gives way to its kind."""
    suspected = suspicion(text.encode("utf-8", "replace"))
    if suspected is None:
        return text
    for token in suspected.tokens:
        text = token.pattern.sub(_hidden(token.kind, _tests_all(token.is_real)), text)
    if suspected.emails:
        is_address = _hidden("e-mail address", lambda m: _is_personal_address(m[0], m[1]))
        text = _EMAIL.sub(is_address, text)
    if suspected.numbers:
        text = _NUMBER.sub(_hidden("number", lambda m: any(_find_numbers(m[0]))), text)
    return text


def _tests_all(is_real: Callable[[str], bool]) -> Callable[[re.Match[str]], bool]:
    return lambda match: is_real(match[0])


def _hidden(kind: str, hides: Callable[[re.Match[str]], bool]) -> Callable[[re.Match[str]], str]:
    return lambda match: f"<{kind}>" if hides(match) else match[0]


def _find_numbers(text: str) -> Iterator[Finding]:
    for match in _NUMBER.finditer(text):
        numbers = [match[0]] if _number_kind(match[0]) else match[0].split(" ")
        for number in numbers:
            if kind := _number_kind(number):
                yield Finding(PERSONAL_DATA, kind, len(number))


def _is_personal_address(address: str, domain: str) -> bool:
    return not (
        address.startswith(("git@", "noreply@", "no-reply@"))
        or address.lower().endswith(_IMAGE_SUFFIXES)
        or _EXAMPLE_DOMAIN.search(domain)
    )


def _number_kind(number: str) -> str | None:
    """What a run of digits and separators looks like, or None."""
    digits = "".join(filter(str.isdigit, number))
    if _is_china_id(number):
        return "Chinese identity card number"
    if _CARD_SHAPE.fullmatch(number) and _CARD_ISSUER.match(digits) and _luhn(digits):
        return "payment card number"
    if _SSN.fullmatch(number):
        return "US social security number"
    phones = (_CHINA_MOBILE, _CHINA_LANDLINE, _NORTH_AMERICA, _INTERNATIONAL)
    if any(shape.fullmatch(number) for shape in phones):
        return "phone number"
    return None


def _is_china_id(number: str) -> bool:
    """GB 11643: region, date of birth, sequence, and a check digit (ISO 7064, MOD 11-2)."""
    if len(number) != 18 or not number[:17].isdigit():
        return False
    year, month, day = int(number[6:10]), int(number[10:12]), int(number[12:14])
    if not (1900 <= year <= 2100 and 1 <= month <= 12 and 1 <= day <= 31):
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17].upper()


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B; runs of one digit pass it and are no card."""
    doubled = [int(digit) for digit in reversed(digits)]
    doubled[1::2] = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in doubled[1::2]]
    return sum(doubled) % 10 == 0 and len(set(digits)) > 2
