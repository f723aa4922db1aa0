"""Where answers go: to standard output; reasoning and all else to standard error."""

from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fine_tuning.cli.chat.reasoning import Part, Parting, parted
from fine_tuning.escaping import visible

DIM, PLAIN = "\x1b[2m", "\x1b[0m"


class Paper:
    """Writes answers as they come. What is piped on is the text as the model wrote it; a terminal
    is shown no control characters."""

    def __init__(self, out: TextIO, err: TextIO, *, colour: bool) -> None:
        self._out, self._err, self._colour = out, err, colour
        self._parting = Parting()
        self._thought = self._answered = False
        self._last = ""

    def begin(self) -> None:
        """A new answer."""
        self._parting, self._last = Parting(), ""
        self._thought = self._answered = False

    def text(self, text: str) -> None:
        """A piece of it."""
        for part in self._parting.of(text):
            self._write(part)

    def end(self) -> None:
        """It is whole."""
        self._write(self._parting.rest())
        if self._thought and not self._answered:
            self.note("")
        elif self._last != "\n":
            print(file=self._out, flush=True)

    def note(self, text: str) -> None:
        """A line that is no answer."""
        print(visible(text), file=self._err, flush=True)

    def side_by_side(self, answers: Mapping[str, str]) -> None:
        """The answers of several to one question, by their names, without their reasoning."""
        table = Table(expand=True)
        for name in answers:
            table.add_column(Text(visible(name)), ratio=1)
        table.add_row(*(Text(visible(parted(text)[1])) for text in answers.values()))
        Console(file=self._out, no_color=not self._colour, highlight=False).print(table)

    def _write(self, part: Part) -> None:
        text, thinking = part
        if not self._answered and not thinking:
            text = text.lstrip() if self._thought else text
        if not text:
            return
        if thinking:
            shown = f"{DIM}{visible(text)}{PLAIN}" if self._colour else visible(text)
            print(shown, end="", file=self._err, flush=True)
            self._thought = True
            return
        if self._thought and not self._answered:
            self.note("")
        self._answered, self._last = True, text[-1]
        shown = visible(text) if self._out.isatty() else text
        print(shown, end="", file=self._out, flush=True)
