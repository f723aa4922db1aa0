"""The page in a real browser: nothing is loaded, nothing is reported, nothing overflows."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from pypdf import PdfReader

from fine_tuning.report import write_comparison, write_data_report, write_report
from tests.browser import launch, needs_chromium, opened, unreadable
from tests.report.examples import comparison, curve, data_check, hostile_run, whole_run

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()


PHONE, DESK = (360, "dark", "zh-CN"), (1200, "light", "en-GB")


@pytest.mark.parametrize(
    ("kind", "width", "scheme", "locale"),
    [
        ("run", *PHONE),
        ("run", *DESK),
        ("data", *PHONE),  # of parts that the page of a run has, too
        ("hostile", *PHONE),
        ("compared", *PHONE),
        ("compared", *DESK),
    ],
)
def test_the_page_opens_without_a_complaint(
    browser: Browser, tmp_path: Path, kind: str, width: int, scheme: str, locale: str
) -> None:
    if kind == "data":
        path = write_data_report(tmp_path / "page.html", data_check())
    elif kind == "compared":
        path = write_comparison(tmp_path / "page.html", comparison(), [("a" * 90, curve(60))] * 7)
    else:
        path = write_report(tmp_path, whole_run() if kind == "run" else hostile_run())
    page, heard = opened(browser, path, width, scheme, locale)
    assert heard == []
    assert page.locator("html").get_attribute("lang") == {"zh-CN": "zh-CN", "en-GB": "en"}[locale]
    # on a phone the columns `change`, `set by` and `why` were cut off
    assert unreadable(page, tables=kind == "run") == []
    page.context.close()


def test_the_reader_switches_the_language_and_it_stays(browser: Browser, tmp_path: Path) -> None:
    path = write_report(tmp_path, whole_run())
    page, heard = opened(browser, path, 1200, "light", "zh-TW")
    assert page.title() == "Qwen3-0.6B，训练数据 train.jsonl, 中文问答.csv"
    assert page.locator("h2.result").inner_text().startswith("完全匹配率")
    assert page.locator(".code button").first.inner_text() == "复制"
    page.get_by_role("button", name="English").click()
    assert page.locator("h2.result").inner_text().startswith("Exact match")
    assert page.locator(".code button").count() == page.locator(".code").count()
    page.reload()
    assert page.locator("h2.result").inner_text().startswith("Exact match"), "it is remembered"
    page.get_by_role("button", name="中文").click()
    assert page.get_by_role("img", name="损失").count() > 0
    assert heard == []
    page.context.close()
    quiet = browser.new_context(java_script_enabled=False, locale="zh-CN").new_page()
    quiet.goto(path.as_uri())
    assert quiet.locator("h2.result").inner_text().startswith("Exact match"), "whole without script"
    quiet.context.close()


def test_the_script_shows_values_under_the_pointer_and_copies(
    browser: Browser, tmp_path: Path
) -> None:
    page, heard = opened(browser, write_report(tmp_path, whole_run()), 1200, "light")
    chart = page.locator(".chart.wide-only > svg")
    chart.scroll_into_view_if_needed()
    box, other = chart.bounding_box(), page.locator(".chart:visible > svg").last.bounding_box()
    assert box is not None and other is not None
    assert page.locator(".chart.wide-only h3").inner_text() == "Loss"
    assert box["width"] > 1.8 * other["width"], "the chart that matters is the large one"
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    tip = page.locator(".tip").inner_text().split("\n")
    assert tip[0].startswith("step 1")
    assert [line.split(":")[0] for line in tip[1:]] == ["training, each log", "held-out"]
    page.mouse.move(0, 0)
    assert page.locator(".tip").count() == 0
    assert page.locator(".code button").count() == page.locator(".code").count() > 0
    assert heard == []
    page.context.close()


def test_what_is_printed_is_open_but_for_more_samples_and_has_margins(
    browser: Browser, tmp_path: Path
) -> None:
    page, _ = opened(browser, write_report(tmp_path, whole_run()), 1200, "light")
    assert page.locator("details:not([open])").count() == 2
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert page.locator("details:not([open])").all_inner_texts() == ["14 more samples"]
    page.context.close()
    printed = PdfReader(tmp_path / "page.pdf").pages
    sheets = [sheet.extract_text() for sheet in printed]
    assert "Exact match" in sheets[0], "it begins with the answer"
    assert min(map(len, sheets)) > 100, "no sheet is empty"
    assert len(sheets) <= 9
    lefts: list[float] = []
    printed[1].extract_text(
        visitor_text=lambda text, at, *_: lefts.append(at[4] * bool(text.strip()))
    )
    assert min(left for left in lefts if left) > 20, "no text at the edge of the paper"
