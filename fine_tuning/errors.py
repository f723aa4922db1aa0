"""Every error that a user can meet, and the exit code that each one ends the command with.

A message has three parts: what happened (with the file, line or flag), why, and what to do next.
Anything that is not one of these classes is a bug of ours and ends with exit code 3.
"""

from collections.abc import Sequence

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BUG = 3
EXIT_INTERRUPTED = 130


class FineTuningError(Exception):
    """Something failed in a way that we can name.

    `what` says what failed and where; `why` gives the cause; `fix` says what to do next. `where`
    names the files, lines or flags once more, for programs.
    """

    exit_code = EXIT_FAILED

    def __init__(
        self, what: str, *, why: str = "", fix: str = "", where: Sequence[str] = ()
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix
        self.where = tuple(where)

    def __str__(self) -> str:
        parts = [self.what]
        if self.why:
            parts.append(f"  why:  {self.why}")
        if self.fix:
            parts.append(f"  next: {self.fix}")
        return "\n".join(parts)


class DataError(FineTuningError):
    """The dataset cannot be used: missing, unreadable, or no (or too few) usable rows."""


class ModelError(FineTuningError):
    """The base model cannot be used: missing, incomplete, gated, or without a fitting template."""


class EnvironmentProblem(FineTuningError):
    """This machine or installation cannot do it: package, driver, disk, network, port."""


class EngineError(FineTuningError):
    """LLaMA-Factory failed while it trained, scored or merged."""


class OutOfMemory(EngineError):
    """The device, or the machine, had too little memory. `after_fix` follows any advice."""

    def __init__(self, what: str, *, why: str = "", fix: str = "", after_fix: str = "") -> None:
        super().__init__(what, why=why, fix=f"{fix}{after_fix}")
        self.after_fix = after_fix


class RowsError(EngineError):
    """It failed at some training rows: `rows` are their numbers among these, from 0."""

    def __init__(
        self, what: str, *, why: str = "", fix: str = "", rows: Sequence[int] = ()
    ) -> None:
        super().__init__(what, why=why, fix=fix)
        self.rows = tuple(rows)

    def at(self, places: Sequence[str]) -> EngineError:
        """The same, with the places of these rows in the user's files."""
        named = [self.what, *(["  its rows:", *map("    {}".format, places)] if places else [])]
        return EngineError("\n".join(named), why=self.why, fix=self.fix, where=places)


class UsageError(FineTuningError):
    """The command was used wrongly. Carries every mistake that was found, not only the first."""

    exit_code = EXIT_USAGE

    def __init__(self, mistakes: str | Sequence[str], *, fix: str = "") -> None:
        self.mistakes = (mistakes,) if isinstance(mistakes, str) else tuple(mistakes)
        super().__init__("\n".join(self.mistakes), fix=fix)


class RunConflict(UsageError):
    """The output directory holds a run that was made with other settings or other data."""


class Interrupted(FineTuningError):
    """The user pressed Ctrl-C; what was done so far is kept."""

    exit_code = EXIT_INTERRUPTED


class Bug(FineTuningError):
    """A failure of this program that nobody has thought of; its traceback lies in a file."""

    exit_code = EXIT_BUG
