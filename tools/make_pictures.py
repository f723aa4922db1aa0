"""Make the pictures of a report in docs/images, in both languages: after `make demo`

    .venv/bin/python tools/make_pictures.py runs/demo

It needs Chromium (`make browser`), and a font with Chinese characters.
"""

import sys
from pathlib import Path
from shutil import which

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PICTURES = (("report.png", "en-US"), ("report.zh-CN.png", "zh-CN"))
SIZE = {"width": 1200, "height": 900}


def main(run: str) -> None:
    """The upper end of the run's page, as a browser of either language shows it."""
    address = (Path(run) / "report.html").resolve(strict=True).as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=which("chromium") or which("google-chrome"), args=["--no-sandbox"]
        )
        for name, locale in PICTURES:
            page = browser.new_context(
                viewport=SIZE,  # type: ignore[arg-type]
                locale=locale,
                color_scheme="light",
            ).new_page()
            page.goto(address)
            page.screenshot(path=IMAGES / name)
            print(IMAGES / name)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
