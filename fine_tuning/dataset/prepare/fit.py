"""Rows that are longer than the cutoff: kept shortened, left to the engine, or dropped.

Which rows are overlong, and how long each of their rounds is, the engine's tokenizer says.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from fine_tuning.dataset.insight.rows import Origins
from fine_tuning.errors import DataError
from fine_tuning.units import counted
from fine_tuning.values.data import Problem
from fine_tuning.values.tables.kinds import KINDS, Kind

# Row number -> tokens after each complete round, the system prompt and the template included.
# A round begins with a user turn and ends with the assistant's answer; tool calls and results lie
# inside it. Only rows over the cutoff need to be listed.
TurnLengths = Mapping[int, Sequence[int]]

OVERLONG = "overlong"
CUT_TURNS = "cut_turns"
TRUNCATED = "cut_by_engine"
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What becomes of the overlong rows; a row in none of the three is left as it is.

    `keep_rounds[row]` is the number of leading rounds that fit; `dropped` rows leave the data;
    `truncated` rows are cut by the engine, in the middle of a turn. `rounds` holds the lengths of
    exactly the overlong rows; those `with_media` are never cut.
    """

    cutoff: int
    keep_rounds: Mapping[int, int] = field(default_factory=dict)
    dropped: frozenset[int] = frozenset()
    truncated: frozenset[int] = frozenset()
    rounds: TurnLengths = field(default_factory=dict)
    with_media: Set[int] = frozenset()

    @property
    def counts(self) -> dict[str, int]:
        """Rows by outcome; together they are the rows that do not stay as they are."""
        return {
            CUT_TURNS: len(self.keep_rounds),
            OVERLONG: len(self.dropped),
            TRUNCATED: len(self.truncated),
        }


def fit_rows(
    kind: Kind,
    lengths: TurnLengths,
    *,
    cutoff: int,
    policy: str,
    origins: Origins,
    with_media: Set[int] = frozenset(),
) -> Fit:
    """Decides about every overlong row; see `Fit`.

    auto: chat keeps as many whole leading rounds as fit, and loses a row whose first round does
    not fit; a text loses its end to the engine (text that is packed into blocks has no overlong
    rows); a preference or KTO row goes, because half of a comparison teaches something else. drop:
    every overlong row goes. truncate: the engine cuts. error: raises DataError that names the first
    rows. A row with media goes where others are cut: the engine would part its files from their
    tokens, and fail.
    """
    over = {row: rounds for row, rounds in lengths.items() if rounds and rounds[-1] > cutoff}
    if policy == "error" and over:
        raise _overlong_error(over, cutoff, origins)
    cuttable = over.keys() - with_media
    truncated, keep_rounds = frozenset[int](), dict[int, int]()
    cut = KINDS[kind].cut
    if policy == "truncate" or (policy == "auto" and cut == "blocks"):
        truncated = frozenset(cuttable)
    elif policy == "auto" and cut == "rounds":
        fitting = {row: sum(1 for tokens in over[row] if tokens <= cutoff) for row in cuttable}
        keep_rounds = {row: rounds for row, rounds in fitting.items() if rounds}
    return Fit(
        cutoff=cutoff,
        keep_rounds=keep_rounds,
        dropped=frozenset(over.keys() - keep_rounds.keys() - truncated),
        truncated=truncated,
        rounds=over,
        with_media=with_media,
    )


def fit_problems(fit: Fit, origins: Origins) -> Iterator[Problem]:
    """A warning for every overlong row, in the order of the rows: its length and its outcome."""
    for row in sorted(fit.rounds):
        rounds = fit.rounds[row]
        length = f"{rounds[-1]:,} tokens, and the cutoff is {fit.cutoff:,}"
        if kept := fit.keep_rounds.get(row):
            code = CUT_TURNS
            message = f"{length}: the first {kept} of {len(rounds)} rounds are kept"
        elif row in fit.truncated:
            code, message = TRUNCATED, f"{length}: the engine cuts off the rest"
        elif row in fit.with_media:
            code = OVERLONG
            message = f"{length}: the row is dropped, because its media cannot be cut"
        elif len(rounds) > 1 and rounds[0] > fit.cutoff:
            code, message = OVERLONG, f"{length}: not even the first round fits, the row is dropped"
        else:
            code, message = OVERLONG, f"{length}: the row is dropped"
        file, line = origins.of(row)
        if line == 1 and row:  # as in `Origins.place`
            message = f"kept row index {row}: {message}"
        yield Problem(file, line, None, code, message, "warning")


def round_ends(turns: Sequence[Mapping[str, Any]]) -> list[int]:
    """The number of turns after each complete round of a conversation.

    An answer that is not trained (weight 0) does not end a round: it is there for a later one.
    """
    ends = [
        place
        for place, turn in enumerate(turns, start=1)
        if turn["from"] == "assistant" and turn.get("weight") != 0
    ]
    if turns and (not ends or ends[-1] != len(turns)):
        ends.append(len(turns))  # a conversation that ends with a tool call
    return ends


def keep_leading_rounds(row: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """The canonical row with its first rounds only."""
    turns = row["conversations"]
    ends = round_ends(turns)
    return {**row, "conversations": turns[: ends[rounds - 1]]}


def _overlong_error(over: TurnLengths, cutoff: int, origins: Origins) -> DataError:
    first = sorted(over)[:_NAMED]
    named = [f"{origins.place(row)} ({over[row][-1]:,} tokens)" for row in first]
    more = f" and {len(over) - _NAMED:,} more" if len(over) > _NAMED else ""
    longest = max(rounds[-1] for rounds in over.values())
    rows = counted(len(over), "row is", "rows are")
    return DataError(
        f"{rows} longer than {cutoff:,} tokens: {', '.join(named)}{more}.",
        why="--overlong error stops at rows that do not fit",
        fix=f"raise --max_seq_length (the longest row needs {longest:,}), or use --overlong auto, "
        "which keeps the turns that fit",
    )
