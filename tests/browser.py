"""Chromium for the tests of pages: the system's, or the one that `make browser` got."""

from shutil import which

import pytest
from playwright.sync_api import Browser, Playwright

from tests.shell import BROWSERS

FOUND = which("chromium") or which("chromium-browser") or which("google-chrome")
needs_chromium = pytest.mark.skipif(
    FOUND is None and not any(BROWSERS.glob("chromium-*/INSTALLATION_COMPLETE")),
    reason="Chromium is not installed: `make browser` gets it, as root by apt-get",
)


def launch(playwright: Playwright) -> Browser:
    """A browser that asks nobody for anything."""
    return playwright.chromium.launch(
        executable_path=FOUND,  # None: Playwright's own
        args=[
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    )
