"""What every command returns: a typed value, which `--json` prints, and the exit code."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fine_tuning.errors import EXIT_DONE

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Outcome(Generic[T_co]):
    """The end of a command: what it found or made, and its exit code.

    `after` is what goes on once the value was told, and gives the exit code: a server.
    """

    value: T_co
    code: int = EXIT_DONE
    after: Callable[[], int] | None = None


@dataclass(frozen=True, kw_only=True)
class Words:
    """A text for people."""

    text: Annotated[str, "as it is printed"]
