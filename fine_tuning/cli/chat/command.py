"""`chat`: one answer for a script, a conversation at the terminal, or a server."""

import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event
from typing import Annotated

from fine_tuning.cli.chat.editor import line_reader
from fine_tuning.cli.chat.heard import Heard, Said
from fine_tuning.cli.chat.opening import speaker_of
from fine_tuning.cli.chat.paper import Paper
from fine_tuning.cli.chat.serving import USUAL_PORT, Served, instructions, served_at
from fine_tuning.cli.chat.talk import COMMANDS, State, Table, answered, converse
from fine_tuning.cli.listening import LOCAL, port_to_listen_on
from fine_tuning.cli.output.logs import log_folder
from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.screens.screen import is_live, open_screen
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.cli.shipping.combining import combining_of
from fine_tuning.cli.shipping.export import without_gpu
from fine_tuning.cli.sources import source_mistakes
from fine_tuning.engine.process.chatting import Speaker
from fine_tuning.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EnvironmentProblem,
    Interrupted,
    UsageError,
)
from fine_tuning.values.answers.chat import Sampling, Talk


@dataclass(frozen=True, kw_only=True)
class Chatted:
    """What was asked and answered, or where a server answers."""

    answers: Annotated[tuple[Said, ...], "in their order; with /compare several for one question"]
    served: Annotated[Served | None, "with --port; it is printed when the server answers"] = None


def run(job: Resolved) -> Outcome[Chatted]:
    """Speak with the model; only answers go to standard output."""
    require_source(job)
    combining = combining_of(job.spec, job.options)
    told = told_to_end()
    how = sampling(job)
    serves = job.options["port"] is not None
    talking = job.options["prompt"] is None and sys.stdin.isatty()
    question = "" if talking or serves else question_of(job.options["prompt"])
    if job.spec.use_cpu:
        job = without_gpu(job)
    with ExitStack() as held:
        folder = held.enter_context(log_folder("chat"))
        screen = held.enter_context(open_screen(sys.stderr))
        try:
            speaker = held.enter_context(
                speaker_of(job.spec, combining, folder=folder, screen=screen)
            )
            for warning in job.warnings:
                screen.warn(warning)
            if serves:
                return serving(job, how, speaker, held)
            speaker.load()
            return talked(job, how, speaker, None if talking else question, told)
        except Interrupted:
            return Outcome(Chatted(answers=()), EXIT_INTERRUPTED)


def told_to_end() -> Event:
    """Set when SIGTERM comes, which ends at once what Ctrl-C ends at the second time."""
    told = Event()

    def ended(*_: object) -> None:
        told.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, ended)
    return told


def talked(
    job: Resolved, how: Sampling, speaker: Speaker, question: str | None, told: Event
) -> Outcome[Chatted]:
    """One answer, or (without a question) a conversation at the terminal."""
    colour = is_live(sys.stderr, os.environ) and not os.environ.get("NO_COLOR")
    paper = Paper(sys.stdout, sys.stderr, colour=colour)
    talk = Talk(system=job.options["system"] or "")
    state = State(who=speaker.names[0], talk=talk, how=how)
    heard: list[Said] = []
    answers = Heard(speaker, heard)
    try:
        if question is None:
            keeps = job.options["history"] is not False
            read = line_reader([*COMMANDS], speaker.names, keeps=keeps, note=paper.note)
            paper.note(f"{welcome(speaker.keeps_history)} /help lists the commands.")
            code = converse(state, Table(answers=answers, paper=paper, read=read, told=told))
        else:
            answer = answered(state, question, answers, paper)
            code = EXIT_INTERRUPTED if answer.ended == "asked" else EXIT_DONE
    except Interrupted:
        code = EXIT_INTERRUPTED
    return Outcome(Chatted(answers=tuple(heard)), code)


def serving(job: Resolved, how: Sampling, speaker: Speaker, held: ExitStack) -> Outcome[Chatted]:
    """Serve until Ctrl-C. Raises UsageError for a model that only continues text."""
    if not speaker.keeps_history:
        raise UsageError(
            "This model was trained on text, and the API only chats.",
            fix="serve it with llama.cpp or vLLM, which continue text too",
        )
    host = job.options["host"] or LOCAL
    port = port_to_listen_on(host, job.options["port"], USUAL_PORT)
    silent = speaker.serve(host, port, how, job.options["system"] or "")
    served = served_at(host, port, speaker.served)
    print("\n".join(instructions(served, host, silent)), flush=True)
    goes_on = held.pop_all()

    def until_ended() -> int:
        with goes_on:
            if not speaker.serve_until_asked():
                raise EnvironmentProblem(
                    "The server ended by itself.", fix="the log of the engine says why"
                )
            print("\nThe server has ended.")
        return EXIT_DONE

    return Outcome(Chatted(answers=(), served=served), after=until_ended)


def welcome(keeps_history: bool) -> str:
    """How one speaks with this model."""
    if keeps_history:
        return "Type a question."
    return "This model was trained on text: it goes on from what you type, and keeps no history."


def require_source(job: Resolved) -> None:
    """Raise UsageError unless it is clear which model is meant."""
    mistakes = source_mistakes(job, what="a chat", several=True)
    if job.options["port"] is None and job.options["host"] is not None:
        mistakes.append("--host goes with --port, which serves the model.")
    if job.options["port"] is not None and job.options["prompt"] is not None:
        mistakes.append("--port serves the model, and --prompt asks it: give one of them.")
    if mistakes:
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
