"""What a person sees: exact lines without a terminal, and a real pseudo-terminal with one."""

import io
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from fine_tuning.cli.screens.progress import STAGES, Progress, describe, fitting
from fine_tuning.cli.screens.screen import PlainScreen, is_live, open_screen
from fine_tuning.cli.screens.tables import choices_table
from fine_tuning.escaping import visible
from fine_tuning.screen import Screen, worker_events
from fine_tuning.values.shown import Choice, MaskedRow, ProblemGroup, Span

ROOT = Path(__file__).parents[3]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def screen(out: io.StringIO, clock: Clock) -> Iterator[Screen]:
    plain = PlainScreen(out, clock)
    yield plain
    plain.close()


def test_training_in_plain_lines(screen: Screen, out: io.StringIO, clock: Clock) -> None:
    screen.begin("train", 40, "steps")
    for step in range(1, 41):
        clock.now += 2.0
        facts = {
            "step": step,
            "loss": 4.0 / step,
            "learning_rate": 1e-4 * (1 - step / 40),
            "tokens_per_second": 1234.5,
            "epoch": step / 20,
        }
        if step == 22:
            facts["eval_loss"] = 0.5
        screen.advance(step, facts=facts)
    screen.end("40 steps, loss 0.1000")
    assert out.getvalue().splitlines() == [
        "training, 40 steps ...",
        "   10%  4/40 steps  loss 1.0000  lr 9.0e-05  1,234 tokens/s  1:12 left",
        "   20%  8/40 steps  loss 0.5000  lr 8.0e-05  1,234 tokens/s  1:04 left",
        "   30%  12/40 steps  loss 0.3333  lr 7.0e-05  1,234 tokens/s  0:56 left",
        "   40%  16/40 steps  loss 0.2500  lr 6.0e-05  1,234 tokens/s  0:48 left",
        "   50%  20/40 steps  loss 0.2000  lr 5.0e-05  1,234 tokens/s  0:40 left",
        "   55%  22/40 steps  loss 0.1818  eval loss 0.5000  1,234 tokens/s  0:36 left",
        "   60%  24/40 steps  loss 0.1667  lr 4.0e-05  1,234 tokens/s  0:32 left",
        "   70%  28/40 steps  loss 0.1429  lr 3.0e-05  1,234 tokens/s  0:24 left",
        "   80%  32/40 steps  loss 0.1250  lr 2.0e-05  1,234 tokens/s  0:16 left",
        "   90%  36/40 steps  loss 0.1111  lr 1.0e-05  1,234 tokens/s  0:08 left",
        "  100%  40/40 steps  loss 0.1000  lr 0.0e+00  1,234 tokens/s  epoch 2.00",
        "training: 40 steps, loss 0.1000 [1:20]",
    ]


def test_a_slow_stage_speaks_every_half_minute(
    screen: Screen, out: io.StringIO, clock: Clock
) -> None:
    screen.begin("merge", 4e9, "bytes")
    for second in range(1, 91):
        clock.now = float(second)
        screen.advance(second * 1e6)
    assert out.getvalue().splitlines() == [
        "merging, 4.0 GB ...",
        "    1%  30.0 MB of 4.0 GB  1:06:10 left",
        "    2%  60.0 MB of 4.0 GB  1:05:40 left",
        "    2%  90.0 MB of 4.0 GB  1:05:10 left",
    ]


def test_a_stage_of_unknown_length(screen: Screen, out: io.StringIO, clock: Clock) -> None:
    screen.begin("tokens", unit="rows")
    clock.now = 31.0
    screen.advance(12_345)
    screen.end("median 120 tokens, longest 873")
    assert out.getvalue().splitlines() == [
        "looking at tokens ...",
        "  12,345 rows",
        "looking at tokens: median 120 tokens, longest 873 [0:31]",
    ]


def test_a_stage_that_breaks_off_says_where(out: io.StringIO) -> None:
    with pytest.raises(KeyboardInterrupt), open_screen(out, {}) as screen:
        screen.begin("train", 300, "steps")
        screen.advance(12)
        raise KeyboardInterrupt
    assert out.getvalue().splitlines()[-1] == "training: stopped at 12/300 steps"


def test_the_settings_table_fits_80_columns(screen: Screen, out: io.StringIO) -> None:
    screen.choices(
        [
            Choice("model_name_or_path", "Qwen/Qwen3-0.6B", "", "you"),
            Choice(
                "dataset_path",
                "/数据集/我的数据/一个很长的路径的名字/训练用的数据.jsonl",
                "",
                "config",
            ),
            Choice("template", "qwen3", "renders 8 of 8 rows as the tokenizer does", "chosen"),
            Choice("per_device_train_batch_size", "2", "", "preset"),
            Choice("seed", "42"),
        ]
    )
    assert out.getvalue().splitlines() == [
        "setting                      value                     why",
        "model_name_or_path           Qwen/Qwen3-0.6B           yours",
        "dataset_path                 /数据集/我的数据/一个很   from --config",
        "                             长的路径的名字/训练用的",
        "                             数据.jsonl",
        "template                     qwen3                     renders 8 of 8 rows as",
        "                                                       the tokenizer does",
        "per_device_train_batch_size  2                         from --preset",
        "seed                         42                        default",
    ]


def test_the_settings_table_fits_40_columns_without_breaking_words() -> None:
    """On a phone, `gradient_accumulation_steps` left six columns for its reason."""
    narrow = Console(file=io.StringIO(), width=40, color_system=None)
    reason = "gives the same token ids as the model's own chat template for all 366 rows"
    row = Choice("gradient_accumulation_steps", "8", reason, "chosen")
    narrow.print(choices_table([row, Choice("seed", "42")]))
    assert isinstance(narrow.file, io.StringIO)
    lines = [line.rstrip() for line in narrow.file.getvalue().splitlines()]
    assert lines[0] == "gradient_accumulation_steps: 8"
    assert " ".join(line.strip() for line in lines[1:-2]) == reason
    assert max(map(len, lines)) <= 40 and lines[-2:] == ["seed: 42", "  default"]


def test_problems_are_grouped_with_an_example_and_advice(screen: Screen, out: io.StringIO) -> None:
    screen.problems(
        [
            ProblemGroup("role_renamed", 900, "`bot` was read as `assistant`", "", "", "warning"),
            ProblemGroup("blank", 1, "answer is blank", "data.csv:9", example="`output` is ' '"),
            ProblemGroup(
                "missing_turn", 312, "assistant turn missing at the end", "data.jsonl:57", "Add it."
            ),
        ]
    )
    assert out.getvalue().splitlines() == [
        "error   312 rows: assistant turn missing at the end [missing_turn]",
        "        first at data.jsonl:57",
        "        next: Add it.",
        "error   1 row: answer is blank [blank]",
        "        first at data.csv:9: `output` is ' '",
        "warning 900 rows: `bot` was read as `assistant` [role_renamed]",
    ]


def test_what_is_lost_looks_different_from_what_is_harmless(
    screen: Screen, out: io.StringIO
) -> None:
    screen.problems(
        [
            ProblemGroup("bom", 5, "byte order mark", severity="warning", effect="repair"),
            ProblemGroup("weight_ignored", 2, "weight", severity="warning", effect="loss"),
            ProblemGroup("file_cut", 1, "file was cut off", effect="question"),
        ]
    )
    assert out.getvalue().splitlines() == [
        "question    1 row: file was cut off [file_cut]",
        "NOT TRAINED 2 rows: weight [weight_ignored]",
        "repaired    5 rows: byte order mark [bom]",
    ]


def test_masked_text_is_told_apart_in_words(screen: Screen, out: io.StringIO) -> None:
    screen.masked(
        [MaskedRow("row 0 (a.jsonl:1)", (Span("user\n你好\n", False), Span("我很好。<end>", True)))]
    )
    assert out.getvalue().splitlines() == [
        "row 0 (a.jsonl:1)",
        "  masked  | user\\n",
        "            你好\\n",
        "  trained | 我很好。<end>",
        "",
    ]


def test_a_generated_file_is_shown_as_it_is(screen: Screen, out: io.StringIO) -> None:
    screen.file(Path("run/train.yaml"), "# by hand\nstage: sft\n" + "x" * 200 + "\n")
    assert out.getvalue() == f"----- run/train.yaml\n# by hand\nstage: sft\n{'x' * 200}\n-----\n"


# Names that are put together where the stage begins.
SIDES = {
    "score": ("before", "after", "alone", "merged", "quantized"),
    "row_losses": ("before", "after"),
    "tasks": ("base", "tuned"),
}


def test_every_stage_that_begins_has_its_words_and_no_other() -> None:
    """A stage stood in the list that never begins, and two that do were missing."""
    package = Path(__file__).parents[3] / "fine_tuning"
    code = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    begun = set(
        re.findall(r"(?:\.begin|events\.stage|downloading|download)\(\s*(?:\w+, )?\"(\w+)\"", code)
    )
    for stem, ends in SIDES.items():
        assert re.search(rf'(?:\.begin|events\.stage)\(\s*f"{stem}_{{', code), stem
        begun |= {f"{stem}_{end}" for end in ends}
    assert begun == set(STAGES)


def test_data_cannot_steer_the_terminal(screen: Screen, out: io.StringIO) -> None:
    attack = "\x1b[2J\x07\x9b\u202etxt\r\x00"
    screen.say(attack)
    screen.warn(attack)
    screen.choices([Choice(attack, attack, attack, "chosen")])
    screen.problems([ProblemGroup(attack, 1, attack, attack, attack)])
    screen.masked([MaskedRow(attack, (Span(attack, True),))])
    screen.file(Path("a"), attack)
    screen.begin(attack)
    screen.end(attack)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out.getvalue())
    assert visible("a\x1bb\tc\r\nd") == "a\\x1bb\tc\nd"


def test_an_ascii_stream_gets_chinese_written_out() -> None:
    raw = io.BytesIO()
    with open_screen(io.TextIOWrapper(raw, encoding="ascii"), {}) as screen:
        screen.say("数据 \ud83d")
    assert raw.getvalue() == b"\\u6570\\u636e \\ud83d\n"


def test_where_lines_can_be_drawn_again() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert is_live(Terminal(), {"TERM": "xterm"})
    assert is_live(Terminal(), {"TERM": "xterm", "NO_COLOR": "1"})
    assert not is_live(Terminal(), {"TERM": "dumb"})
    assert not is_live(Terminal(), {"TERM": "xterm", "CI": "true"})
    assert not is_live(io.StringIO(), {"TERM": "xterm"})


def test_the_time_left_counts_from_where_a_continued_run_began() -> None:
    progress = Progress(stage="train", total=300, unit="steps", began=0.0)
    progress = progress.advanced(20.0, 200, None, {}).advanced(30.0, 210, None, {})
    assert progress.seconds_left(30.0) == pytest.approx(90.0)
    assert progress.seconds_left(40.0) == pytest.approx(80.0), "the time left runs between steps"


def test_a_narrow_terminal_keeps_the_most_important_facts() -> None:
    facts = {"loss": 0.5, "learning_rate": 1e-4, "tokens_per_second": 999.0, "epoch": 1.0}
    progress = Progress(stage="train", total=300, unit="", began=0.0)
    progress = progress.advanced(0.0, 0, None, {}).advanced(10.0, 100, None, facts)
    parts = describe(progress, 10.0)
    assert fitting(parts, 80).startswith("100/300  loss 0.5000  lr 1.0e-04  999 tokens/s  epoch")
    assert fitting(parts, 36) == "100/300  loss 0.5000  0:20 left"
    assert fitting(parts, 3) == "100/300"


_JOB = """
import sys, time
from pathlib import Path
from fine_tuning.cli.screens.screen import open_screen
from fine_tuning.values.shown import Choice, MaskedRow, Span
with open_screen() as screen:
    screen.say("hello 中文")
    screen.choices([Choice("seed", "42", "", "you")])
    screen.masked([MaskedRow("row 0", (Span("asked", False), Span("answered", True)))])
    screen.file(Path("train.yaml"), "stage: sft")
    screen.begin("train", 300, "steps")
    screen.advance(0)
    for step in (100, 150):
        screen.advance(step, facts={"loss": 0.4321, "learning_rate": 5e-5,
                                    "tokens_per_second": 2345, "eval_loss": 0.9876})
    screen.end("300 steps")
    screen.begin("merge", 10, "files")
    screen.advance(3)
"""


def on_a_terminal(columns: int, **env: str) -> str:
    """What the job writes to a pseudo-terminal of that width."""
    leader, follower = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    size = {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
    job = subprocess.Popen(
        [sys.executable, "-c", _JOB],
        stdout=follower,
        stderr=follower,
        cwd=ROOT,
        env={**plain, **size, "PYTHONIOENCODING": "utf-8", **env},
    )
    os.close(follower)
    seen = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            chunk = os.read(leader, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.close(leader)
    assert job.wait(60) == 0, seen.decode()
    return seen.decode()


def without_escapes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_shows_one_bar_with_the_facts() -> None:
    raw = on_a_terminal(80)
    text = without_escapes(raw)
    bars = [line for line in re.split(r"[\r\n]+", text) if line.startswith("training ━")]
    assert any("150/300  loss 0.4321  lr 5.0e-05  2,345 tokens/s  0:0" in bar for bar in bars)
    assert all(len(bar) <= 80 for bar in bars)
    assert "\x1b[2K" in raw, "the bar is drawn in its own place"
    assert "\x1b[1A\x1b[2K\x1b[32m✓" in raw, "the bar goes when its stage ends"
    assert "  100/300 steps  eval loss 0.9876" in text
    assert "✓ training  300 steps  0:0" in text
    assert text.rstrip().endswith("merging: stopped at 3/10 files")
    assert raw.endswith("\x1b[?25h") or raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l"), (
        "the cursor is there again"
    )
    assert "\x1b[1;32manswered" in raw
    assert "\x1b[2masked" in raw


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_no_color_and_dumb_terminals_are_respected() -> None:
    colourless = on_a_terminal(80, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", colourless)
    assert "\x1b[1manswered" in colourless
    dumb = on_a_terminal(80, TERM="dumb")
    assert "\x1b" not in dumb


def test_the_first_ctrl_c_says_what_a_second_one_loses() -> None:
    out = io.StringIO()
    worker_events(PlainScreen(out))({"event": "stopping"})
    said = " ".join(out.getvalue().split())
    assert said.startswith("Stopping: this step is finished and a checkpoint is saved.")
    assert said.endswith(
        "Ctrl-C again ends at once, and loses the steps since the last checkpoint."
    )
