"""Chromium for the tests of pages: the system's, or the one that `make browser` got."""

from pathlib import Path
from shutil import which

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Playwright

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


def opened(
    browser: Browser, path: Path, width: int, scheme: str, locale: str = "en-US"
) -> tuple[Page, list[str]]:
    """The page, and what the browser complained about or loaded."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        locale=locale,
    )
    page = context.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: heard.append(request.url))
    page.goto(path.as_uri())
    return page, [what for what in heard if what != path.as_uri()]


def unreadable(page: Page, *, tables: bool) -> list[object]:
    """What stands out of the page sideways, `tables` included, and what a screen reader, a keyboard
    or weak eyes do not get to."""
    cut = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    found = Axe().run(page).response
    assert len(found["passes"]) > 5
    return [
        *["the page"]
        * (page.evaluate("document.documentElement.scrollWidth - window.innerWidth") > 0),
        *["a table"] * (page.evaluate(f"{cut}.length") if tables else 0),
        *(
            (wrong["id"], wrong["nodes"][0]["html"])
            for wrong in found["violations"]
            if wrong["impact"] in ("serious", "critical")
        ),
    ]
