"""A page in Chinese says nothing in English but names, code and what is somebody else's."""

import re
from pathlib import Path

import pytest

from fine_tuning.dataset.problems import CAUSES, CONTENT
from fine_tuning.dataset.read import READ_PROBLEMS
from fine_tuning.engine.process.known_errors import explain
from fine_tuning.report import runs_page, write_report
from fine_tuning.report.facts.page import DataAccount, RunFacts
from fine_tuning.report.pages.language import HOLE, Language, language
from fine_tuning.report.write import RunRow
from fine_tuning.values.results import Failure
from fine_tuning.values.shown import ProblemGroup
from tests.report.examples import whole_run
from tests.report.spoken import english_in, english_words, failures, sentences

PACKAGE = Path(__file__).parents[2] / "fine_tuning"
TEMPLATES = sorted((PACKAGE / "report" / "pages" / "templates").glob("*.j2"))
CHINESE = language("zh")
# Rooms whose sentences stand on a page, and what of them does not.
WRITERS = (
    *sorted((PACKAGE / "report").rglob("*.py")),
    *sorted((PACKAGE / "dataset").rglob("*.py")),
    *sorted((PACKAGE / "engine" / "plan").rglob("*.py")),
    PACKAGE / "engine" / "worker" / "online" / "alarms.py",
    PACKAGE / "engine" / "worker" / "training" / "callbacks" / "finite.py",
    PACKAGE / "engine" / "worker" / "training" / "callbacks" / "learning.py",
    PACKAGE / "engine" / "worker" / "served" / "choose.py",
    PACKAGE / "measures" / "metrics.py",
    PACKAGE / "measures" / "rewards.py",
)
# Rooms whose errors end a run that has begun, so that its page tells them.
FAILING = (
    *sorted((PACKAGE / "engine" / "process").glob("*.py")),
    *sorted((PACKAGE / "engine" / "worker" / "training").rglob("*.py")),
    *sorted((PACKAGE / "engine" / "worker" / "merging").rglob("*.py")),
    *sorted((PACKAGE / "engine" / "worker" / "scoring").glob("*.py")),
    *sorted((PACKAGE / "engine" / "worker" / "scoring" / "inputs").glob("*.py")),
    *sorted((PACKAGE / "engine" / "worker" / "served").glob("*.py")),
    *sorted((PACKAGE / "stages" / "shipping").rglob("*.py")),
    *(PACKAGE / "dataset" / "prepare" / f"{name}.py" for name in ("fit", "mix", "split")),
    *(PACKAGE / "ship" / f"{name}.py" for name in ("adapter", "base", "gguf", "ladder", "merged")),
    *(PACKAGE / "stages" / f"{name}.py" for name in ("encode", "train")),
    *(PACKAGE / "run" / f"{name}.py" for name in ("ending", "run")),
    *(PACKAGE / f"disk/{name}.py" for name in ("checkpoints", "files", "hashes")),
    PACKAGE / "hubs" / "refused.py",
    *sorted((PACKAGE / "engine" / "worker" / "loading").glob("*.py")),
    PACKAGE / "ship" / "ollama" / "program.py",
    *(PACKAGE / "ship" / "llm_compressor" / f"{name}.py" for name in ("compress", "place", "plan")),
)
ON_NO_PAGE = {
    "loading.py": "code to copy, whose titles are tested by the page of a run",
    "rendering.py": "the policy of the page",
    "evaluation.py": "what `eval` prints",
    "register.py": "what is said before the run has begun",
    "meanings.py": "names of columns, and what each looks like, in the question of the format",
    "words.py": "what is wrong with a path, before the run has begun",
}
PARTS = {  # of a sentence that is tested whole by the test beside it
    "%Y-%m-%d %H:%M UTC",
    # what a tokenizer is asked to read
    "Hello world, it's 42 degrees.\n\n    return x  # 你好，世界",
    "delete it, and the page is made without it, or put a copy back",
    "7 x 7",
    "suits 7 rows7",
    "--7 false",
    "Over the same 7 rows 7",
    "7The same command continues it.",
    "7 of 7 steps are saved. ",
    " on 7 held-out rows",
    "7 7 7 training7",
    "7 became right and 7 wrong (McNemar's test at 95%7)",
    ": 7 points",
    "7 to 7 7: 7 rows",
    "77 of its lines",
    "7 7line 7",
    "7 per row",
    "7 answers per update, 7 to each of 7",
    "7: answers to a prompt",
    "7: weight of the distance (KL) from the model as it was",
    "7: 7 of the weights",
    "the routed experts, {share:.0%} of the weights, {what}: Transformers 5 keeps them as "
    "three-dimensional parameters, which neither --lora_target nor bitsandbytes reaches",
    "; --target_parameters experts adapts them",
    "get no adapter",
    "stay in 16 bits",
    "in 16 bits",
    "vision and audio",
    "norms and others",
    "Fine-tuning run",
    "Data report",
    " and 7 more",
    "; and 7 more",
    "row is",
    "rows are",
    "other file was",
    "other files were",
    " (kept row index 7)",
    " in all rows",
    " in 7 rows, not in 7",
    " with Human:/Assistant: turns",
    "7/ (a link)",
    "every problem: 7; the dropped rows: 7",
    "version https://git-lfs",
    "there is no network, or HF_HUB_OFFLINE is set",
    "7 (7 whats)",
    "7 (7 tokens)",
    "7 holds 7",
    "7 longer than 7 tokens: 77.",
    "7 holds 7 (7)",
    "7 messages",
    "7: 7 is 7",
}


def test_a_sentence_with_holes_is_found_by_what_fills_them() -> None:
    spoken = Language(
        "zh",
        {
            "{n:d} row{| is|s are} kept": "保留 {n} 条",
            "{n:d} rows are kept as they were": "原样保留 {n} 条",
            "{what:t}: it was {name}": "{what}：是 {name}",
            "the {a} of {b}": "{b} 的 {a}",
            "{a:v} on {b:v}": "{b}：{a}",
            "ask {who:m} again": "再问{who}",
            "them": "他们",
        },
    )
    assert spoken("1 row is kept") == "保留 1 条"
    assert spoken("1,234 rows are kept") == "保留 1,234 条"
    assert spoken("7 rows are kept as they were") == "原样保留 7 条", "the more exact one"
    assert spoken("some rows are kept") == "some rows are kept", "no number, no match"
    assert spoken("2 rows are kept: it was x") == "保留 2 条：是 x"
    assert spoken("unknown words: it was x") == "unknown words: it was x", "never half of it"
    assert spoken("the {a} of {b}", a="<b>", b="c") == "c 的 &lt;b&gt;"
    assert spoken("{a:v} on {b:v}", a="x", b="y") == "y：x"
    assert spoken("a rug on a floor") == "a rug on a floor", "a template's own"
    assert spoken("ask them again\n  ask Bob again") == "再问他们\n  再问Bob"
    assert language("en")("12 to 34") == "12 to 34"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_says_nothing_but_through_the_catalogue(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for said in re.findall(r'"((?:[^"\\]|\\.)+)"\s*\|\s*t\b|\bt\("([^"]+)"', text):
        key = "".join(said)
        assert CHINESE.known(key) is not None, f"no Chinese for {key!r}"
    bare = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^<>]*>", " ", text, flags=re.S)
    bare = bare.replace("LLaMA Board", "")
    assert re.findall(r"[A-Za-z]{2,}", bare) == [], "text of a template passes through `t`"


@pytest.mark.parametrize("path", WRITERS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_sentence_of_a_room_that_writes_for_the_page_has_its_chinese(path: Path) -> None:
    if path.name in ON_NO_PAGE:
        pytest.skip(ON_NO_PAGE[path.name])
    missing = {text for text in sentences(path) if CHINESE.known(text) is None}
    assert missing - PARTS == set(), "add it to fine_tuning/report/pages/languages/zh"


@pytest.mark.parametrize("path", FAILING, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_failure_that_a_page_tells_has_its_chinese(path: Path) -> None:
    missing = {text for text in failures(path) if CHINESE.known(text) is None}
    assert missing - PARTS == set(), "add it to fine_tuning/report/pages/languages/zh"


def test_every_cause_of_a_problem_has_its_chinese() -> None:
    texts = {text for it in (*CAUSES.values(), *CONTENT.values()) for text in (it.title, it.fix)}
    texts |= {text for it in READ_PROBLEMS.values() for text in (it.title, it.fix)} - {""}
    assert {text for text in texts if CHINESE.known(text) is None} == set()


WHOLE = (
    "end what else uses the GPU (nvidia-smi lists it); else take the first of these that is not "
    "set: --batch_size 1, a smaller --max_seq_length, --quantization 4bit\n  log:  /r/engine",
    "Stopped: `checkpoint-8` is saved, step 8 of 126.",
    "looks like it holds an e-mail address (11 characters) in turn 1 (`user`)",
    "looks like it holds an e-mail address (11 characters) in the text, a phone number (9 "
    "characters) in turn 3 and 4 more",
    "the same as line 1",
    "dropped: the same as `b.jsonl`, line 3",
    "the text is in gb18030; it was read as such, which decides 2 of its lines: 2, 3",
    "not valid JSON at line 3, column 15: expecting value, but the record ends there",
    "line 3: a quoted cell is never closed: the file was cut off here?",
    "turn 2, an answer, is blank",
    "Ended at once, before the first checkpoint.",
    "turn 2 of `messages` is a number; expected an object",
    "the file is a PDF document, not a dataset; extract its text first",
    "`a.jsonl`: cannot be read (`x`)",
    "37 training rows are in the validation data too (kept; --dedup drops them from training)",
    "suits 329 rows; no memory estimate with DeepSpeed or FSDP",
    "16 answers per update, 8 to each of 2 prompts",
    "usual for grpo: answers to a prompt",
    "usual for rloo: weight of the distance (KL) from the model as it was",
    "not adapted: embeddings 23%, norms and others 4% of the weights",
    "in 16 bits: vision and audio 12% of the weights",
    "the routed experts, 90% of the weights, get no adapter: Transformers 5 keeps them as "
    "three-dimensional parameters, which neither --lora_target nor bitsandbytes reaches; "
    "--target_parameters experts adapts them",
    "Exact match 0% → 97.3% on 37 held-out rows",
    "Loss of the answers 0.17 after training on 1 held-out row",
    "12 of 126 steps are saved. The same command continues it.",
    "Over the same 37 rows 36 became right and 0 wrong (McNemar's test at 95%: +81.3 to +100.0 "
    "points): the model learnt this.",
    "Over the same 1 row it changed by −0.1 to +0.2 (95% interval), which may be chance. Hold out "
    "more rows (--val_size, --score_samples) to tell.",
    "30 to 35 tokens: 33 rows",
    "step 5: training, each log 0.12",
    "better: 8 right only here, 0 only in the first, of 37 rows (McNemar p 0.0078)",
    "may be chance: -0.1 to +0.2 (95% interval over 37 rows)",
    "the same in each of 37 rows",
    "read as: chat -> `kto` (3 turns), `dpo` (1 turn), `sft` -> rm (2 turns)",
    "read as: 1 -> `true` (3 rows), 0 -> `false` (1 row)",
    "read, not trained: `weight 0` (1 answer), `train false` (2 answers)",
    "results after turn 3 of `messages` were put in order",
    "turn 2 of `messages`: the ids of the 2 calls and of the 1 result after it do not match",
    "turn 1 (`user`) holds characters of a wrong decoding ('`')",
    "the system prompt holds a control character ('`')",
    "an answer holds U+FFFD, which stands for lost text ('`')",
    "the text holds <|im_end|>",
    "`images`: `a.png` is no image",
    "turn 1 of chosen messages is blank",
    "2 rows are longer than 128 tokens: `a.json:3` (200 tokens), `a.json:4` (300 tokens).",
    "9 rows are longer than 128 tokens: `a.json:3` (200 tokens), `b` (300 tokens) and 7 more.",
    "columns `a`, `b` in 7 rows, not in 3; also messages=talk",
    "columns `a`, `b` in all rows; prompt=question",
)


@pytest.mark.parametrize("text", WHOLE)
def test_a_sentence_of_several_parts_is_translated_whole(text: str) -> None:
    assert english_words(CHINESE(text)) == []


def test_a_translation_fills_the_holes_that_the_english_has() -> None:
    for english, chinese in CHINESE.catalogue.items():
        holes = {hole[1] for hole in HOLE.finditer(english) if hole[1]}
        assert holes == {hole[1] for hole in HOLE.finditer(chinese)}, english


def test_no_translation_fits_nearly_every_text() -> None:
    """`{model} on {data}` made nonsense of what held an "on", and hid what had no Chinese."""
    open_ended = [
        pattern
        for pattern in CHINESE.patterns
        if not pattern.beginning and {*pattern.kinds.values()} - {"d", "t"}
    ]
    assert [it.english for it in open_ended if it.literal < 8] == []


def test_without_a_language_the_page_carries_both_and_with_one_that_alone(tmp_path: Path) -> None:
    facts = RunFacts(subject=("demo", "rows.json"), status="interrupted")
    both = write_report(tmp_path, facts).read_text(encoding="utf-8")
    assert '<html lang="en">' in both and '<title translate="no">demo on rows.json</title>' in both
    assert '<template lang="zh-CN" data-title="demo，训练数据 rows.json">' in both
    chinese = write_report(tmp_path, facts, "zh").read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in chinese and "<template" not in chinese
    assert "在完成前停止" in chinese and "Stopped before the end" not in chinese
    assert "<template" not in write_report(tmp_path, facts, "en").read_text(encoding="utf-8")


def test_what_others_wrote_is_never_translated(tmp_path: Path) -> None:
    """A prompt, an answer, a value or a label that happens to be a word of the page."""
    whole = whole_run()
    sample = type(whole.samples[0])(prompt="before", expected="after", before="wrong", after="Data")
    html = write_report(tmp_path, RunFacts(samples=(sample,), title="Runs"), "zh").read_text()
    for word in ("before", "after", "wrong", "Data", "Runs"):
        assert f">{word}</" in html
    assert english_in(html) == []


def test_a_failure_and_what_was_found_in_a_file_are_told_in_the_language_of_the_page(
    tmp_path: Path,
) -> None:
    error = explain("CUDA out of memory", tmp_path / "engine.log", last_line="Tried 2 GiB")
    failure = Failure(what=error.what, why=error.why, fix=error.fix)
    found = "the text is in gb18030; 2 of its lines read otherwise"
    problem = ProblemGroup("encoding", 1, "x", "a.csv", severity="warning", example=found)
    facts = RunFacts(failure=failure, data=DataAccount(problems=(problem,)))
    html = write_report(tmp_path, facts, "zh").read_text(encoding="utf-8")
    assert "设备显存不足。" in html and "模型、批大小和序列长度合计所需" in html
    assert "日志：" in html and "Tried 2 GiB" in html
    assert "文本的编码是 gb18030" in html


def test_the_list_of_runs_speaks_both(tmp_path: Path) -> None:
    rows = [RunRow(cells=("a", "done", "m", "d", "lora", "", "0:12", "2026"), page="/a")]
    columns = ("run", "state", "model", "data", "method", "before -> after", "took", "began")
    html = runs_page("runs", columns, rows, "http://127.0.0.1:7860")
    assert "已完成" in html and "Runs in runs" in html and "runs 下的运行" in html
