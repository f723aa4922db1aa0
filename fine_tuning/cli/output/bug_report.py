"""The log of a bug of ours (exit code 3): Markdown that can be pasted into an issue as it is.

It names versions, flags and the traceback. Left out are the values of flags, what looks like a
credential, the home directory and the user's name.
"""

import getpass
import os
import platform
import re
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fine_tuning import __version__
from fine_tuning.cli.settings.catalogue import spec_settings
from fine_tuning.disk.resources import IS_CHECKOUT
from fine_tuning.importing import installed_version

STACK = ("llamafactory", "torch", "transformers", "peft", "trl", "datasets", "accelerate")
# Rather too much than too little: this is read by strangers.
CREDENTIAL = re.compile(
    r"(?:hf_|sk-|gh[pousr]_|github_pat_|xox[a-z]-|AKIA|ASIA|AIza|eyJ)[\w.-]{8,}"
    r"|(?<=://)[^/\s@]+(?=@)"
    r"|(?i:(?<=bearer )|(?<=token=)|(?<=password=)|(?<=api_key=))[^\s&'\"]+"
)
SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
SHORTEST = 4  # characters of a word that is looked for in the traceback

TEXT = """\
**llama-factory-fine-tuning {version}** ({place}) on Python {python}, {system}

{stack}

Command: `{command}`, flags: {flags}

<!-- Values, credentials, home directory and user name are left out of what follows. An error's text
may still quote your data: read it before you post it. -->
{fence}text
{trace}{fence}
"""


def write_bug_report(error: BaseException, words: Sequence[str]) -> Path:
    """Write the log of an unexpected error and give its path; `words` is the command line."""
    trace = redacted("".join(traceback.format_exception(error)), secrets_of(words, os.environ))
    longest = max((len(run) for run in re.findall("`+", trace)), default=0)
    flags = [word.partition("=")[0] for word in words if word.startswith("--")]
    text = TEXT.format(
        version=__version__,
        place="checkout" if IS_CHECKOUT else "installed",
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        stack=", ".join(f"{name} {installed_version(name) or '(not installed)'}" for name in STACK),
        command=words[0] if words and words[0].isalpha() else "run",
        flags=" ".join(f"`{flag}`" for flag in flags) or "none",
        fence="`" * max(3, longest + 1),
        trace=trace,
    )
    with tempfile.NamedTemporaryFile(
        "w", prefix="llama-factory-fine-tuning-", suffix=".md", delete=False, encoding="utf-8"
    ) as log:
        log.write(text)
    return Path(log.name)


def secrets_of(words: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Values that must not be read by strangers: those of flags, and of variables that name a
    secret. Choices such as `lora` and numbers tell nothing about anybody and stay."""
    choices = {choice for setting in spec_settings().values() for choice in setting.choices}
    parts = [word.partition("=")[2] if word.startswith("--") else word for word in words[1:]]
    parts += [word.partition("=")[2] for word in words[:1] if word.startswith("--")]
    values = [part for part in parts if part not in choices and not _is_number(part)]
    values += [value for name, value in environment.items() if SECRET_NAME.search(name)]
    return tuple(sorted({v for v in values if len(v) >= SHORTEST}, key=len, reverse=True))


def redacted(text: str, secrets: Sequence[str]) -> str:
    """The text without these values, credentials, the home directory and the user's name."""
    for secret in secrets:
        text = text.replace(secret, "<value>")
    text = CREDENTIAL.sub("<credential>", text)
    for private, instead in _private():
        text = re.sub(rf"(?<!\w){re.escape(private)}(?!\w)", instead, text)
    return text


def _private() -> Iterator[tuple[str, str]]:
    with suppress(RuntimeError):  # nobody's home
        home = Path.home()
        yield from ((str(path), "~") for path in (home, home.resolve()) if len(path.parts) > 1)
    with suppress(OSError, KeyError, ImportError):  # a user without a name
        yield getpass.getuser(), "<user>"


def _is_number(word: str) -> bool:
    with suppress(ValueError):
        float(word)
        return True
    return False
