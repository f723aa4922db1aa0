"""What `make demo` promises, on the embedded defaults."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from pypdf import PdfReader

from tests.browser import launch, needs_chromium, opened, unreadable
from tests.commands import ROOT, command, told
from tests.report.spoken import english_in
from tests.transformers_4 import asked_of_4, asked_of_5, needs_transformers_4

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the output of the main job with nothing named but the format."""
    place = tmp_path_factory.mktemp("demo")
    done = command(
        *("--dataset_format", "alpaca", "--output_dir", "run", "--export_dir", "merged"),
        cwd=place,
    )
    assert done.returncode == 0, done.stdout
    return place, done.stdout


def test_the_defaults_are_said_first(demo: tuple[Path, str]) -> None:
    lines = demo[1].splitlines()
    assert "bundled demo model" in lines[0]
    assert "bundled sample alpaca.json" in lines[1]


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_shows_what_it_prints(demo: tuple[Path, str], name: str) -> None:
    """Numbers and blanks apart, which differ from machine to machine, and the folders' names."""

    def shape(line: str) -> str:
        line = line.replace("runs/demo-merged", "merged").replace("runs/demo/", "run/")
        return re.sub(r"\d[\d,.:]*", "N", " ".join(line.split()))

    text = (ROOT / name).read_text(encoding="utf-8")
    excerpt = re.search(r"```text\n(.*?)```", text, re.DOTALL)
    assert excerpt is not None
    printed = {shape(line) for line in demo[1].splitlines()}
    assert [line for line in excerpt[1].splitlines() if shape(line) not in printed] == []


def test_fine_tuning_visibly_teaches_something(demo: tuple[Path, str]) -> None:
    place, output = demo
    scores = json.loads((place / "run" / "scores.json").read_text(encoding="utf-8"))
    before, after = scores["before"]["metrics"], scores["after"]["metrics"]
    assert before["n"] == after["n"] >= 30
    assert before["exact_match"] <= 0.10
    assert after["exact_match"] >= 0.90
    assert f"Exact match: {before['exact_match']:.0%} -> " in output
    state = json.loads((place / "run" / "trainer_state.json").read_text(encoding="utf-8"))
    logged = [entry for entry in state["log_history"] if "loss" in entry]
    assert all(it["tokens_per_second"] > 10 and it["process_memory"] > 1e8 for it in logged)
    general = scores["before"]["general"], scores["after"]["general"]
    assert [*map(len, general)] == [48, 48] and general[0] != general[1]
    answers = [scores[side]["general_answers"] for side in ("before", "after")]
    assert [*map(len, answers)] == [48, 5], "afterwards those alone that lost most"
    assert all(text for _, text in answers[0]) and all(text for _, text in answers[1])


def test_a_stranger_learns_from_the_page_alone_what_was_trained_and_what_came_of_it(
    demo: tuple[Path, str],
) -> None:
    html = (demo[0] / "run" / "report.html").read_text(encoding="utf-8")
    english = html.partition("<template")[0]
    page = " ".join(
        unescape(re.sub(r"<style.*?</style>|<[^<>]*>", "", english, flags=re.S)).split()
    )
    for said in (
        # what was trained on what
        r"demo_model was trained by lora on 329 rows of alpaca\.json\. The scores are of 37 other "
        "rows, which the training has not seen",
        # whether it is better, and how sure that is
        r"Exact match \S+% → \S+% on 37 held-out rows Over the same 37 rows \d+ became right and "
        r"\d+ wrong \(McNemar's test at 95%: \S+ to \S+ points\): the model learnt this\.",
        "Exact match ?answers that are the expected text, to the letter",
        # what got worse
        "General knowledge: the loss of the expected answers to 48 questions",
        r"\d held-out rows? of 37 got worse",
        # how to load it
        r"The merged model answers like base \+ adapter: the same most likely token",
        r"chat --output_dir \S*run",
        r"AutoModelForCausalLM\.from_pretrained\('\S*merged', ",
        # what it was made of
        "What it was made of, by hashes ?demo_model ?[0-9a-f]{12}",
        "Speed",
        "Memory",
    ):
        assert re.search(said, page), said
    assert "完全匹配率" in html and english_in(html) == [], "each sentence has its Chinese"


@needs_chromium
def test_the_page_of_a_real_run_is_readable_on_a_screen_a_phone_and_paper(
    demo: tuple[Path, str], tmp_path: Path
) -> None:
    path = demo[0] / "run" / "report.html"
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for width, scheme, locale in ((360, "dark", "zh-CN"), (1200, "light", "en-GB")):
            page, heard = opened(browser, path, width, scheme, locale)
            assert heard == [] and unreadable(page, tables=True) == []
            page.pdf(path=tmp_path / f"{locale}.pdf", format="A4")
            page.context.close()
        browser.close()
    for locale, title in (("en-GB", "Exact match"), ("zh-CN", "完全匹配率")):
        sheets = [sheet.extract_text() for sheet in PdfReader(tmp_path / f"{locale}.pdf").pages]
        assert title in sheets[0], "it begins with the answer"
        assert len(sheets) <= 13 and min(map(len, sheets)) > 100


def test_the_scores_are_of_generated_answers_on_held_out_rows(demo: tuple[Path, str]) -> None:
    run = demo[0] / "run"
    samples = json.loads((run / "scores.json").read_text(encoding="utf-8"))["after"]["samples"]
    assert any(sample["answer"] == sample["expected"] for sample in samples)
    train = (run / "dataset" / "split" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    trained = {tuple(turn["value"] for turn in json.loads(line)["conversations"]) for line in train}
    held_out = (run / "dataset" / "split" / "validation.jsonl").read_text(encoding="utf-8")
    for line in held_out.splitlines():
        assert tuple(turn["value"] for turn in json.loads(line)["conversations"]) not in trained


# Prints the answers to prompts as JSON, by whichever Transformers is found first.
ANSWERS = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
answers = []
for prompt in json.loads(sys.argv[2]):
    ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False)])
    found = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=200)
    answers.append(tokenizer.decode(found[0, ids.shape[1]:]))
print(json.dumps(answers))
"""


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(asked_of_4, marks=needs_transformers_4, id="4"),
        pytest.param(asked_of_5, id="5"),
    ],
)
def test_the_merged_model_answers_as_it_was_taught_and_stops(
    demo: tuple[Path, str], asked: Callable[..., Any]
) -> None:
    """In the Transformers that trained it, and in a server's older one."""
    scores = json.loads((demo[0] / "run" / "scores.json").read_text(encoding="utf-8"))
    right = [s for s in scores["after"]["samples"] if s["answer"] == s["expected"]][:8]
    answers = asked(ANSWERS, str(demo[0] / "merged"), json.dumps([s["prompt"] for s in right]))
    assert answers == [f"{sample['expected']}<|im_end|>" for sample in right], "and it stops"


def test_the_bundled_samples_are_listed_for_the_webui(demo: tuple[Path, str]) -> None:
    entries = json.loads((demo[0] / "data" / "dataset_info.json").read_text(encoding="ascii"))
    assert {"sample_alpaca", "sample_sharegpt", "sample_preference"} <= entries.keys()
    files = {Path(entry["file_name"]) for entry in entries.values()}
    assert demo[0] / "run" / "dataset" / "split" / "train.jsonl" in files
    assert all(file.exists() for file in files)


def test_the_same_command_again_has_nothing_to_do(demo: tuple[Path, str]) -> None:
    done = told(
        *("--dataset_format", "alpaca", "--output_dir", "run", "--export_dir", "merged"),
        cwd=demo[0],
    )
    assert done.code == 0, done.text
    assert "Training is already done" in done.text
    assert "already in" in done.text
    assert (demo[0] / done.result.merged_path).samefile(demo[0] / "merged")


def test_eval_finds_what_the_run_found_and_what_was_forgotten(demo: tuple[Path, str]) -> None:
    done = told("eval", "--output_dir", "run", "--report", "eval.json", cwd=demo[0])
    assert done.code == 0, done.text
    scores = json.loads((demo[0] / "run" / "scores.json").read_text(encoding="utf-8"))
    held_out, general = json.loads((demo[0] / "eval.json").read_text(encoding="utf-8"))["sets"]
    metrics = {it["name"]: it for it in held_out["metrics"]}
    for side, name in (("base", "before"), ("tuned", "after")):
        samples = scores[name]["samples"]
        for row, known in zip(held_out["rows"], samples, strict=True):
            assert (row["question"], row["expected"]) == (known["question"], known["expected"])
            assert row[side]["answer"] == known["answer"]
        for metric in ("exact_match", "loss", "perplexity", "stops"):
            known = scores[name]["metrics"][metric]
            assert metrics[metric][side] == pytest.approx(known, rel=1e-3), metric
    assert metrics["exact_match"]["verdict"] == metrics["loss"]["verdict"] == "better"
    assert metrics["bleu"]["interval"][0] > 0 and "tok:zh" in metrics["bleu"]["signature"]
    assert "on the same 37 rows: better" in held_out["says"] and held_out["says"] in done.text
    assert general["count"] == 48 and general["left_out"] == []
    assert "General rows: what was forgotten" in done.text
    assert [part.says for part in done.result.sets] == [held_out["says"], general["says"]]
