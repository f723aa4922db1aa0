import re
from collections.abc import Iterator
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fine_tuning.ledger import Findings
from fine_tuning.report import write_data_report, write_report
from fine_tuning.report.facts.page import (
    CurvePoint,
    DataAccount,
    DataFacts,
    Parity,
    RunFacts,
    Sample,
    TokenDifference,
)
from fine_tuning.values.results import Failure
from fine_tuning.values.shown import MaskedRow, ProblemGroup, Span
from tests.report.examples import (
    ATTACK,
    account,
    curve,
    data_check,
    hostile_run,
    samples,
    whole_run,
)

_VOID = {"meta", "br"}


class Outline(HTMLParser):
    """Tags that do not balance, every tag with its attributes, and of those and of the text what is
    shown at first: the other language lies in a template."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.first: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if "template" not in self.open:
            self.first.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if not {"style", "script", "template"} & {*self.open}:
            self.text.append(data)


def outline(html: str) -> Outline:
    page = Outline()
    page.feed(html)
    page.close()
    return page


def words(html: str) -> str:
    return re.sub(r"\s+", " ", " ".join(outline(html).text))


def page_of(folder: Path, facts: RunFacts) -> str:
    return write_report(folder, facts).read_text(encoding="utf-8")


def partial_runs() -> Iterator[tuple[str, RunFacts]]:
    """The whole run with one part missing, and nothing but one part."""
    whole, empty = whole_run(), RunFacts()
    for field in fields(RunFacts):
        yield f"without_{field.name}", replace(whole, **{field.name: getattr(empty, field.name)})
        yield f"only_{field.name}", replace(empty, **{field.name: getattr(whole, field.name)})
    for status in ("failed", "interrupted", "running", "dry_run"):
        yield status, replace(empty, status=status)
    yield "one_point", replace(empty, curves=(CurvePoint(step=5, loss=1.0, learning_rate=0.0),))
    yield "empty_account", replace(empty, data=DataAccount())
    yield "hostile", hostile_run()


@pytest.mark.parametrize(("name", "facts"), [pytest.param(n, f, id=n) for n, f in partial_runs()])
def test_any_part_of_the_facts_makes_a_well_formed_page(
    name: str, facts: RunFacts, tmp_path: Path
) -> None:
    page = outline(page_of(tmp_path, facts))
    assert page.wrong == []
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.first if "id" in attributes]
    assert len(ids) == len(set(ids))
    anchors = {a["href"] for tag, a in page.first if tag == "a"}
    assert anchors <= {f"#{name}" for name in ids}, "every entry of the contents leads somewhere"


def test_the_page_loads_nothing_from_outside(tmp_path: Path) -> None:
    html = page_of(tmp_path, whole_run())
    for tag, attributes in outline(html).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img")
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    assert "@import" not in html
    assert "url(" not in html
    addresses = set(re.findall(r"https?://[^\s\"'<]+", html))
    assert addresses == {"http://www.w3.org/2000/svg"}, "the name of SVG's elements, never loaded"


@pytest.mark.parametrize("kind", ["run", "data"])
def test_rows_cannot_bring_markup_into_the_page(kind: str, tmp_path: Path) -> None:
    facts = hostile_run()
    if kind == "run":
        path = write_report(tmp_path, facts)
    else:
        assert facts.data is not None
        check = DataFacts(
            data=facts.data,
            title=ATTACK,
            template=ATTACK,
            parity=facts.parity,
            masked=facts.masked,
            warnings=(ATTACK,),
        )
        path = write_data_report(tmp_path / "page.html", check)
    page = outline(path.read_text(encoding="utf-8"))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [tag for tag, _ in page.tags if tag == "img"]
    handlers = [name for _, a in page.tags for name in a if name.startswith("on")]
    assert handlers == []
    assert "{{7*7}}" in "".join(page.text), "shown as it was written"


def test_the_numbers_shown_are_those_given(tmp_path: Path) -> None:
    text = words(page_of(tmp_path, whole_run()))
    for shown in (
        "Qwen3-0.6B was trained by LoRA, rank 16 on 8,883 rows of train.jsonl, 中文问答.csv .",
        "The scores are of 987 other rows, which the training has not seen",
        "Exact match 2.5% → 97.5% on 40 held-out rows",
        "answers that are the expected text, to the letter",
        "0.4% to 12.9%",
        "87.1% to 99.6%",
        "3.413",
        "0.3083",
        "10,000 read = 9,870 kept + 130 dropped",
        "training 8,883",
        "validation 987",
        "encoded by the engine 8,883 as expected",
        "94 rows output is missing missing_answer",
        "first at data/train.jsonl:57",
        "next Add output to the row",
        "cutoff 768",
        "rows over the cutoff 18",
        "data/中文问答.csv",
        "中国的首都是北京。",
        "20 of 40 answered rows",
        "20.5 MB",
        "together 7:57",
        "llamafactory 0.9.5",
        "zh 6,021",
    ):
        assert shown in text, shown


def test_an_account_that_does_not_balance_is_loud(tmp_path: Path) -> None:
    data = replace(account(), rows_kept=9800, engine_counted=8000)
    text = words(page_of(tmp_path, RunFacts(data=data)))
    assert "does not balance" in text
    assert "70 rows are unaccounted for" in text
    assert "8,000 expected 8,883" in text


def test_a_failed_run_shows_the_error_with_cause_and_next_step(tmp_path: Path) -> None:
    failure = Failure(
        what="LLaMA-Factory ran out of memory in step 12.",
        why="8 rows of 768 tokens do not fit",
        fix="set `--batch_size 4`",
    )
    facts = RunFacts(status="failed", failure=failure, log="logs/engine.log")
    text = words(page_of(tmp_path, facts))
    assert "The run failed" in text
    for part in (failure.what, failure.why, "set --batch_size 4", facts.log):
        assert part in text


def test_a_sample_that_is_still_wrong_is_among_the_twenty(tmp_path: Path) -> None:
    many = samples(200)
    last = replace(many[-1], after="the only wrong one", correct_after=False)
    right = tuple(replace(sample, correct_after=True) for sample in many[:-1])
    html = write_report(tmp_path, RunFacts(samples=(*right, last)), "en").read_text()
    assert "the only wrong one" in html
    assert html.count('<article class="card sample">') == 20


def test_the_data_page_says_how_many_rows_are_usable(tmp_path: Path) -> None:
    html = write_data_report(tmp_path / "page.html", data_check()).read_text(encoding="utf-8")
    assert outline(html).wrong == []
    text = words(html)
    assert "9,870 of 10,000 rows are usable; 130 are not" in text
    assert "The rows that were dropped are in runs/qwen3-alpaca/dataset/rejected.jsonl" in text


@pytest.mark.parametrize(
    ("data", "headline"),
    [
        (DataAccount(rows_read=5, rows_kept=5), "All 5 rows are usable"),
        (DataAccount(rows_read=5, rows_dropped=5), "No row of 5 is usable"),
        (
            DataAccount(
                rows_read=5,
                rows_kept=5,
                problems=(ProblemGroup("not_found", 1, "no file", files=1),),
            ),
            "5 rows are usable; 1 file cannot be used",
        ),
        (
            DataAccount(problems=(ProblemGroup("empty_file", 2, "empty", files=2),)),
            "No row could be read; 2 files cannot be used",
        ),
    ],
)
def test_the_headline_of_the_data_page(data: DataAccount, headline: str, tmp_path: Path) -> None:
    path = write_data_report(tmp_path / "page.html", DataFacts(data=data))
    assert headline in words(path.read_text(encoding="utf-8"))


def test_a_page_of_100_000_steps_and_long_rows_stays_below_a_megabyte_a_language(
    tmp_path: Path,
) -> None:
    long = "<'\n" * 20_000
    facts = replace(
        whole_run(),
        curves=curve(100_000),
        samples=tuple(
            Sample(prompt=long, expected=long, before=long, after=long) for _ in range(60)
        ),
        masked=tuple(MaskedRow("row", (Span(long, True), Span(long, False))) for _ in range(60)),
        parity=Parity(
            equal=False,
            differences=tuple(
                TokenDifference(row="r", trained=(long, *("a\n",) * 9000), served=("b",) * 9000)
                for _ in range(9)
            ),
        ),
        warnings=(long,) * 100,
    )
    assert write_report(tmp_path, facts, "zh").stat().st_size < 1_000_000
    assert write_report(tmp_path, facts).stat().st_size < 2_000_000


def test_text_that_utf8_or_html_cannot_hold_is_shown_in_its_place(tmp_path: Path) -> None:
    html = page_of(tmp_path, RunFacts(title="a\x00b\x1b[31m \ud83d 中文 🙂"))
    assert "a␀b␛[31m \ufffd 中文 🙂" in html


def test_an_older_page_stays_if_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    path = write_report(tmp_path, RunFacts(title="older"))
    with pytest.raises(TypeError):
        write_report(tmp_path, RunFacts(durations={"train": "long"}))  # type: ignore[dict-item]
    assert "older" in path.read_text(encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def _colours(css: str) -> list[dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.S)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks[:2]]


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(scheme: int) -> None:
    css = (Path(__file__).parents[2] / "fine_tuning/report/pages/templates/page.css").read_text()
    colours = _colours(css)[scheme]
    pairs = [(text, back) for text in ("ink", "soft", "blue") for back in ("paper", "card", "code")]
    pairs += [("good", "good-back"), ("bad", "bad-back"), ("unsure", "unsure-back")]
    pairs += [("soft", "plain-back"), ("blue", "plain-back"), ("ink", "trained-back")]
    pairs += [("good", "paper"), ("bad", "paper"), ("unsure", "paper"), ("orange", "card")]
    for text, back in pairs:
        high, low = sorted((_luminance(colours[text]), _luminance(colours[back])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, back)


def test_rows_that_stand_out_are_named_by_file_and_line(tmp_path: Path) -> None:
    html = write_report(tmp_path, whole_run()).read_text(encoding="utf-8")
    text = html[html.index('id="rows"') : html.index('id="curves"')]
    assert "Never learned: 12 rows" in text and "the first 10 of them" in text
    assert text.count("data/中文问答.csv:8") == 12, "ten, one not finite, and one made worse"
    assert "3.25" in text and "not finite" in text and "train row 3" in text
    quiet = replace(whole_run(), row_losses=Findings(measured=5, unmeasured=0, learned=False))
    html = write_report(tmp_path, quiet).read_text(encoding="utf-8")
    assert "too little to tell which of them were not learned" in html
    assert "None of them stands out." in html
