"""`chat`: one answer for a script, or a conversation at the terminal."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fine_tuning.cli.chat.heard import Heard, Said
from fine_tuning.cli.chat.opening import speaker_of
from fine_tuning.cli.chat.paper import Paper
from fine_tuning.cli.chat.talk import State, Table, answered, converse
from fine_tuning.cli.combining import combining_of
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.screens.screen import is_live, open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.cli.shipping.export import without_gpu
from fine_tuning.cli.sources import source_mistakes
from fine_tuning.errors import EXIT_DONE, EXIT_INTERRUPTED, Interrupted, UsageError
from fine_tuning.values.answers.chat import Sampling, Talk


@dataclass(frozen=True, kw_only=True)
class Chatted:
    """What was asked and answered."""

    answers: Annotated[tuple[Said, ...], "in their order; with /compare several for one question"]


def run(job: Resolved) -> Outcome[Chatted]:
    """Speak with the model; only answers go to standard output."""
    require_source(job)
    combining = combining_of(job.spec, job.options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    how = sampling(job)
    talking = job.options["prompt"] is None and sys.stdin.isatty()
    question = "" if talking else question_of(job.options["prompt"])
    if job.spec.use_cpu:
        job = without_gpu(job)
    colour = is_live(sys.stderr, os.environ) and not os.environ.get("NO_COLOR")
    paper = Paper(sys.stdout, sys.stderr, colour=colour)
    # kept if it fails: the message names the log in it
    folder = Path(tempfile.mkdtemp(prefix="chat-"))
    heard: list[Said] = []
    try:
        with (
            open_screen(sys.stderr) as screen,
            speaker_of(job.spec, combining, folder=folder, screen=screen) as speaker,
        ):
            for warning in job.warnings:
                screen.warn(warning)
            speaker.load()
            talk = Talk(system=job.options["system"] or "")
            state = State(who=speaker.names[0], talk=talk, how=how)
            table = Table(answers=Heard(speaker, heard), paper=paper, read=line_reader())
            if talking:
                paper.note(f"{welcome(speaker.keeps_history)} /help lists the commands.")
                code = converse(state, table)
            else:
                answer = answered(state, question, table)
                code = EXIT_INTERRUPTED if answer.ended == "asked" else EXIT_DONE
    except Interrupted:
        code = EXIT_INTERRUPTED
    except UsageError:  # of which the log says nothing
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(Chatted(answers=tuple(heard)), code)


def welcome(keeps_history: bool) -> str:
    """How one speaks with this model."""
    if keeps_history:
        return "Type a question."
    return "This model was trained on text: it goes on from what you type, and keeps no history."


def require_source(job: Resolved) -> None:
    """Raise UsageError unless it is clear which model is meant."""
    if mistakes := source_mistakes(job, what="a chat", several=True):
        raise UsageError(mistakes)


def sampling(job: Resolved) -> Sampling:
    """How answers are drawn: the likeliest token, unless a temperature or a share is given.

    Raises UsageError for numbers that cannot be meant.
    """
    temperature, top_p = job.options["temperature"], job.options["top_p"]
    most = job.options["max_new_tokens"]
    usual = Sampling()
    if temperature is None:
        temperature = usual.temperature if top_p is None else 1.0
    how = Sampling(
        max_new_tokens=usual.max_new_tokens if most is None else most,
        temperature=float(temperature),  # Transformers refuses a whole number
        top_p=usual.top_p if top_p is None else float(top_p),
    )
    mistakes = [f"--{mistake}" for mistake in how.mistakes]
    if top_p is not None and how.temperature == 0:
        mistakes.append("--top_p draws among the likeliest tokens, and --temperature 0 draws none.")
    if mistakes:
        raise UsageError(mistakes)
    return how


def question_of(prompt: str | None) -> str:
    """The text of `--prompt`, else all of standard input. Raises UsageError if it is empty."""
    text = (sys.stdin.read() if prompt is None else prompt).strip()
    if not text:
        raise UsageError(
            "There is nothing to answer: standard input is empty.",
            fix="give the question with --prompt, or call `chat` in a terminal",
        )
    return text


def line_reader() -> Callable[[str], str]:
    """Reads a line at the terminal, with Python's own line editor and its history.

    Where answers go to a file, the prompt does not.
    """
    if not sys.stdout.isatty():
        return _read_plainly
    with suppress(ImportError):  # not on Windows, whose console edits lines by itself
        import readline  # noqa: F401  # `input` uses it
    return input


def _read_plainly(prompt: str) -> str:
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
