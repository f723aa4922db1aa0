"""Get Chromium for the tests of pages, where that needs no password.

    python tools/make_chromium.py [--once]

One on the PATH is taken as it is. Else root on Debian or Ubuntu gets the system's package, and
everybody else Playwright's build, in .venv/browsers. With --once nothing is tried again after a
failure. The tests of pages are skipped without it, so a failure stops nothing.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

VENV = Path(__file__).resolve().parents[1] / ".venv"
BROWSERS = VENV / "browsers"
LOG = VENV / "chromium.log"
NAMES = ("chromium", "chromium-browser", "google-chrome")
APT = ("apt-get", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1")
TIMEOUT_S = 900


def installed() -> bool:
    """Whether the tests would find one (tests/browser.py)."""
    return any(map(shutil.which, NAMES)) or any(BROWSERS.glob("chromium-*/INSTALLATION_COMPLETE"))


def commands(*, is_root: bool, has_apt: bool) -> Sequence[Sequence[str]]:
    """What installs it on such a machine, in order."""
    if is_root and has_apt:
        return (
            (*APT, "update"),
            (*APT, "install", "--yes", "--no-install-recommends", "chromium"),
        )
    return ((sys.executable, "-m", "playwright", "install", "chromium"),)


def main(words: Sequence[str]) -> None:
    """Try to install it, once; say what happened in a line."""
    if installed() or ("--once" in words and LOG.exists()):
        return
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    print("Getting Chromium for the tests of pages (once) ...", flush=True)
    env = {
        **os.environ,
        "PLAYWRIGHT_BROWSERS_PATH": str(BROWSERS),
        "DEBIAN_FRONTEND": "noninteractive",
    }
    with LOG.open("wb") as log:
        for command in commands(is_root=is_root, has_apt=shutil.which("apt-get") is not None):
            try:
                subprocess.run(
                    command,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=TIMEOUT_S,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                log.write(f"{error}\n".encode())
    if installed():
        print("Chromium is installed.")
    else:
        print(f"Chromium cannot be had here (log: {LOG}); the tests of pages are skipped.")


if __name__ == "__main__":
    main(sys.argv[1:])
