"""The conversation at a terminal: what the person types, one line after the other."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from threading import Event
from typing import Protocol

from fine_tuning.cli.chat.paper import Paper
from fine_tuning.engine.process.chatting import BASE
from fine_tuning.errors import EXIT_DONE, EXIT_INTERRUPTED, FineTuningError, Interrupted
from fine_tuning.units import counted
from fine_tuning.values.answers.chat import Answer, Sampling, Talk

USUAL_FILE = "chat.jsonl"
TWICE = "(Ctrl-C again, or /quit, ends)"
NO_BASE = "There is no base model to this one: it was not loaded as a run or with an adapter."
OF_BASE = ("none", BASE)  # what the model without an adapter is called


class Answers(Protocol):
    """Who answers (engine/process/chatting.py: Speaker)."""

    @property
    def names(self) -> Sequence[str]:
        """Who can be asked; the first answers unasked."""

    @property
    def keeps_history(self) -> bool:
        """Whether earlier rounds are part of the prompt."""

    def answer(
        self,
        talk: Talk,
        question: str,
        how: Sampling,
        *,
        who: str,
        on_text: Callable[[str], None],
    ) -> Answer:
        """The answer of this one; its text goes to `on_text` as it comes."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Where the conversation is: `who` answers, or all that are compared."""

    who: str
    talk: Talk = Talk()
    how: Sampling = Sampling()
    comparing: tuple[str, ...] = ()
    over: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Who sits at it: the model, what is written on, and where the next line comes from."""

    answers: Answers
    paper: Paper
    read: Callable[[str], str]
    told: Event = field(default_factory=Event)  # to end, by somebody else


def converse(state: State, table: Table) -> int:
    """Read lines and answer them until the person has enough; gives the exit code.

    Ctrl-C during an answer ends the answer. Twice in a row, in an answer or at the prompt, it ends
    the conversation; where it was told to end, at once.
    """
    stopped = False
    while not state.over:
        if table.told.is_set():
            return EXIT_INTERRUPTED
        try:
            usual = state.who == table.answers.names[0]
            line = table.read("> " if usual else f"{state.who}> ").strip()
        except EOFError:
            table.paper.note("")
            return EXIT_DONE
        except KeyboardInterrupt:
            if stopped or table.told.is_set():
                return EXIT_INTERRUPTED
            stopped = True
            table.paper.note(f"\n{TWICE}")
            continue
        stopped = False
        try:
            state = done(state, line, table)
        except Interrupted:
            return EXIT_INTERRUPTED
        except FineTuningError as error:
            table.paper.note(f"error: {error}")
    return EXIT_DONE


def done(state: State, line: str, table: Table) -> State:
    """What the line asks for: a command, or a question."""
    if not line.startswith("/"):
        return asked(state, line, table) if line else state
    name, _, argument = line[1:].partition(" ")
    if name not in COMMANDS:
        table.paper.note(f"There is no /{name}. /help lists the commands.")
        return state
    return COMMANDS[name].do(state, argument.strip(), table)


def asked(state: State, question: str, table: Table) -> State:
    """The state after the answer, which is shown."""
    if state.comparing:
        return compared(state, state.comparing, question, table)
    answer = answered(state, question, table.answers, table.paper)
    return _later(state, question, answer, table)


def answered(state: State, question: str, answers: Answers, paper: Paper) -> Answer:
    """One answer, drawn as it comes."""
    paper.begin()
    try:
        answer = answers.answer(state.talk, question, state.how, who=state.who, on_text=paper.text)
    finally:
        paper.end()
    if answer.ended == "length":
        paper.note(f"(cut after {answer.tokens:,} tokens: --max_new_tokens)")
    elif answer.ended == "asked":
        paper.note("(stopped)")
    return answer


def compared(state: State, among: Sequence[str], question: str, table: Table) -> State:
    """The state after these have answered; the conversation goes on with what the one said that is
    spoken with, if it is among them, else with what the last one said."""
    found = {}
    for who in among:
        answer = table.answers.answer(
            state.talk, question, state.how, who=who, on_text=lambda text: None
        )
        if answer.ended == "asked":
            table.paper.note("(stopped)")
            return state
        found[who] = answer
    table.paper.side_by_side({who: answer.text for who, answer in found.items()})
    return _later(state, question, found.get(state.who, answer), table)


def _later(state: State, question: str, answer: Answer, table: Table) -> State:
    if not table.answers.keeps_history:
        return state
    return replace(state, talk=state.talk.with_round(question, answer.text))


def _help(state: State, argument: str, table: Table) -> State:
    for name, command in COMMANDS.items():
        table.paper.note(f"  /{name + ' ' + command.takes:<23} {command.help}")
    table.paper.note("  Ctrl-C stops an answer; twice ends.")
    return state


def _clear(state: State, argument: str, table: Table) -> State:
    table.paper.note("A new conversation.")
    return replace(state, talk=Talk(system=state.talk.system))


def _system(state: State, argument: str, table: Table) -> State:
    table.paper.note("System prompt set." if argument else "No system prompt.")
    return replace(state, talk=replace(state.talk, system=argument))


def _adapter(state: State, argument: str, table: Table) -> State:
    """Who answers from here on; without a name, who could."""
    names = table.answers.names
    who = BASE if argument in OF_BASE else argument
    if not argument:
        for name in names:
            table.paper.note(f"{'*' if name == state.who else ' '} {name}")
        return state
    if who not in names:
        there = NO_BASE if who == BASE else f"There is no {who}; there are {', '.join(names)}."
        table.paper.note(there)
        return state
    called = f"The {who} model" if who in (BASE, "tuned") else who
    table.paper.note(f"{called} answers from here on.")
    return replace(state, who=who, comparing=())


def _compare(state: State, argument: str, table: Table) -> State:
    names = table.answers.names
    if len(names) < 2:
        table.paper.note(NO_BASE)
        return state
    chosen, question = _among(argument, names)
    usual = (BASE, state.who if state.who != BASE else names[0])
    among = chosen or state.comparing or usual
    if len(among) == 1:
        among = (state.who if state.who not in among else BASE, *among)
    if question:
        return compared(state, among, question, table)
    if not chosen and state.comparing:
        table.paper.note("One model answers.")
        return replace(state, comparing=())
    table.paper.note(f"Each question is answered by {' and '.join(among)}.")
    return replace(state, comparing=among)


def _among(argument: str, names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The names that a line begins with, and the question behind them. One name before a question
    is a word of it."""
    words = [BASE if word in OF_BASE else word for word in argument.split()]
    count = next((at for at, word in enumerate(words) if word not in names), len(words))
    if count == 1 < len(words):
        return (), argument
    rest = argument.split(maxsplit=count)[count:] if count else [argument]
    return tuple(dict.fromkeys(words[:count])), "".join(rest)


def _again(state: State, argument: str, table: Table) -> State:
    """Another answer takes the place of the last one."""
    if not state.talk.rounds:
        table.paper.note("Nothing was asked yet.")
        return state
    *before, (question, _) = state.talk.rounds
    return asked(replace(state, talk=replace(state.talk, rounds=tuple(before))), question, table)


def _set(state: State, argument: str, table: Table) -> State:
    name, _, text = argument.partition(" ")
    try:
        how = state.how.changed(name, text.strip()) if argument else state.how
    except ValueError as error:
        table.paper.note(str(error))
        return state
    table.paper.note(", ".join(f"{item.name} {getattr(how, item.name):g}" for item in fields(how)))
    return replace(state, how=how)


def _save(state: State, argument: str, table: Table) -> State:
    """One line more in a file that `validate` and a training read."""
    path = Path(argument or USUAL_FILE).expanduser()
    if path.suffix != ".jsonl":
        table.paper.note(f"Name a file that ends with .jsonl, for example {USUAL_FILE}.")
        return state
    line = json.dumps({"messages": state.talk.messages}, ensure_ascii=False)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        table.paper.note(f"{path} cannot be written: {error.strerror}.")
    else:
        table.paper.note(f"{counted(len(state.talk.rounds), 'round')} added to {path}.")
    return state


@dataclass(frozen=True)
class Command:
    """What a line that begins with `/` does."""

    takes: str
    help: str
    do: Callable[[State, str, Table], State]


COMMANDS: Mapping[str, Command] = {
    "help": Command("", "this list", _help),
    "clear": Command("", "begin a new conversation", _clear),
    "system": Command("TEXT", "set the system prompt (none without TEXT)", _system),
    "adapter": Command("[NAME]", "who answers (none: the base model); or list them", _adapter),
    "base": Command("", "the base model answers", lambda s, _, t: _adapter(s, BASE, t)),
    "tuned": Command(
        "", "the tuned model answers", lambda s, _, t: _adapter(s, t.answers.names[0], t)
    ),
    "compare": Command(
        "[NAMES] [TEXT]", "several answer, side by side: once, or from now on", _compare
    ),
    "again": Command("", "another answer in place of the last one", _again),
    "set": Command("NAME VALUE", "temperature, top_p or max_new_tokens of the answers", _set),
    "save": Command("[FILE]", f"add the conversation to a file ({USUAL_FILE})", _save),
    "quit": Command("", "end (as Ctrl-D)", lambda state, _, __: replace(state, over=True)),
}
