"""Several runs beside each other: what differs in them, and how their scores differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fine_tuning.disk import hashes
from fine_tuning.measures.compare import compared
from fine_tuning.measures.paired import LEVEL, mcnemar
from fine_tuning.report.facts.collect import curves_of, read_scores
from fine_tuning.report.facts.page import CurvePoint
from fine_tuning.report.told.scores import mood, value_text
from fine_tuning.units import counted
from fine_tuning.values.answers.scores import Score, Scores
from fine_tuning.values.codec import fingerprint, to_json
from fine_tuning.values.record import RunRecord, result_of
from fine_tuning.values.spec import FREE

# What says where a run lies, or how it was asked for, and nothing of what it trains.
PLACES = FREE - {"score_samples"}
OF_DATA = frozenset({"validation"})  # a choice of the plan that is a count of rows
NOTHING = "nothing"
OF_TOKENS = ("loss", "perplexity", "length")  # metrics that count tokens


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A run that is compared: by its name here, from its folder and its record."""

    name: str
    path: Path
    record: RunRecord


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that may differ, and what each run has, in their order."""

    name: Annotated[str, "a setting, a package, or what is told of the data"]
    values: Annotated[tuple[str | None, ...], "null: this run has none"]

    @property
    def differs(self) -> bool:
        """Whether they are not all the same."""
        return len(set(self.values)) > 1


@dataclass(frozen=True, kw_only=True)
class Change:
    """A score of one run against the first one's."""

    difference: Annotated[float | None, "this run's less the first one's"] = None
    interval: Annotated[tuple[float, float] | None, "95%, of the rows paired"] = None
    gained: Annotated[int | None, "rows that only this run has right"] = None
    lost: Annotated[int | None, "rows that only the first run has right"] = None
    verdict: Annotated[
        Literal["better", "worse", "unsure", "incomparable"], "unsure: it may be chance"
    ]
    says: Annotated[str, "the same as a sentence"]


@dataclass(frozen=True, kw_only=True)
class ScoreBeside:
    """One metric of all runs, after their trainings."""

    name: Annotated[str, "the metric"]
    values: Annotated[tuple[float | None, ...], "of each run; null: not scored"]
    texts: Annotated[tuple[str, ...], "the same as they are shown"]
    rows: Annotated[tuple[int, ...], "held-out rows behind each"]
    changes: Annotated[tuple[Change | None, ...], "of each run but the first, which has null"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs in the runs, and how their scores differ."""

    names: Annotated[tuple[str, ...], "the runs, by which the other fields are ordered"]
    settings: Annotated[tuple[Difference, ...], "asked for or chosen; only those that differ"]
    data: Annotated[tuple[Difference, ...], "files and counts of rows; also those that are alike"]
    same_data: Annotated[bool, "whether all were prepared from the same rows"]
    versions: Annotated[tuple[Difference, ...], "of packages; only those that differ"]
    scores: Annotated[tuple[ScoreBeside, ...], "after the training"]


def compare(runs: Sequence[Compared]) -> Comparison:
    """The runs beside each other; scores are compared with the first one's.

    Raises DataError if the scores of a run are damaged.
    """
    records = [run.record for run in runs]
    data = beside([data_of(run.path, run.record) for run in runs])
    prints = [line.values for line in data if line.name == "content of the rows"]
    return Comparison(
        names=tuple(run.name for run in runs),
        settings=tuple(it for it in beside([*map(settings_of, records)]) if it.differs),
        data=data,
        same_data=bool(prints) and len(set(prints[0])) == 1 and None not in prints[0],
        versions=tuple(it for it in beside([r.versions for r in records]) if it.differs),
        scores=tuple(scores_beside(runs)),
    )


def curves_beside(runs: Sequence[Compared]) -> list[tuple[str, Sequence[CurvePoint]]]:
    """The curves of each run, by its name."""
    return [(run.name, curves_of(run.path)) for run in runs]


def beside(columns: Sequence[Mapping[str, str]]) -> tuple[Difference, ...]:
    """What each run has under each name, in the order in which the names are met."""
    names = dict.fromkeys(name for column in columns for name in column)
    return tuple(
        Difference(name=name, values=tuple(column.get(name) for column in columns))
        for name in names
    )


def settings_of(record: RunRecord) -> dict[str, str]:
    """What was asked for, with what was chosen in place of what was left open, and by its hash the
    model that it began with: under one name there may lie another."""
    wishes = {name: _text(value) for name, value in _flat(to_json(record.settings))}
    plan = result_of(record.stages.plan)
    chosen = {it.name: it.value for it in plan.choices if it.name not in OF_DATA} if plan else {}
    model = result_of(record.stages.model)
    content = (
        {"content of the base model": fingerprint(model.hashes)} if model and model.hashes else {}
    )
    return {**wishes, **chosen, **content}


def _flat(spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in spec.items():
        if name in ("data", "engine_args"):
            yield from _flat(value)
        elif name not in PLACES:
            yield name, value


def _text(value: Any) -> str:
    if value in (None, "", [], (), {}):
        return NOTHING
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return str(value)


def data_of(path: Path, record: RunRecord) -> dict[str, str]:
    """Files with their hashes, and what became of the rows."""
    data, parts = result_of(record.stages.check), result_of(record.stages.split)
    found: dict[str, str] = {}
    if data is not None:
        found |= {
            "files": ", ".join(f"{Path(f.path).name} ({f.sha256[:12]})" for f in data.files),
            "rows read": f"{data.rows_read:,}",
            "rows kept": f"{data.rows_kept:,}",
            "rows dropped": f"{data.rows_dropped:,}",
            "content of the rows": data.fingerprint,
        }
    if parts is not None:
        parts_are = _split_hashes(path)
        found |= {
            "rows to train on": f"{parts.train_rows:,}",
            "rows held out": f"{parts.val_rows:,}",
        }
        found |= {f"content of {part}": digest for part, digest in parts_are.items()}
    return found


def _split_hashes(path: Path) -> dict[str, str]:
    """Of the two parts, as they were noted when they were written; empty if they were not."""
    names = {"train": "the training part", "validation": "the held-out part"}
    return {
        names[Path(name).stem]: str(digest)[:12]
        for name, digest in hashes.known(path / "dataset" / "split").items()
        if Path(name).stem in names and Path(name).suffix in (".jsonl", ".parquet")
    }


def scores_beside(runs: Sequence[Compared]) -> Iterator[ScoreBeside]:
    """Every metric that some run was scored by."""
    scored = [read_scores(run.path) for run in runs]
    held_out = [_split_hashes(run.path).get("the held-out part") for run in runs]
    lists = [{score.name: score for score in compared(it.before, it.after)} for it in scored]
    for name in dict.fromkeys(name for one in lists for name in one):
        found = [one.get(name) for one in lists]
        known = next(score for score in found if score is not None)
        values = tuple(None if score is None else score.after for score in found)
        yield ScoreBeside(
            name=name,
            values=values,
            texts=tuple(value_text(known, value) for value in values),
            rows=tuple(score.n if score else 0 for score in found),
            changes=(
                None,
                *(
                    change_of(found[0], found[i], scored[0], scored[i], held_out[0] == held_out[i])
                    for i in range(1, len(runs))
                ),
            ),
        )


def change_of(
    first: Score | None, other: Score | None, then: Scores, now: Scores, same_rows: bool
) -> Change:
    """A metric of another run against the first one's: paired where the held-out rows are the
    same, and else nothing is said of it."""
    if first is None or other is None or first.after is None or other.after is None:
        return _incomparable("not scored in both")
    if not same_rows or len(then.after.losses) != len(now.after.losses):
        return _incomparable("scored on other held-out rows")
    pairs = {pair.name: pair for pair in compared(then.after, now.after)}
    pair = pairs[first.name]
    if pair.before is None:
        return _incomparable("scored on other held-out rows")
    counts = [[tokens for _, tokens in side.after.losses] for side in (then, now)]
    if pair.metric in OF_TOKENS and counts[0] != counts[1]:
        return _incomparable("counted in other tokens")
    tested = pair.change is not None or pair.moved is not None
    found = {"good": "better", "bad": "worse"}.get(mood(pair), "unsure") if tested else "unsure"
    gained, lost = pair.moved or (None, None)
    return Change(
        difference=other.after - first.after,
        interval=pair.change,
        gained=gained,
        lost=lost,
        verdict=found,  # type: ignore[arg-type]  # of the words above
        says=_sentence(pair, found),
    )


def _incomparable(why: str) -> Change:
    return Change(verdict="incomparable", says=why)


def _sentence(score: Score, verdict: str) -> str:
    """What the pairs say, with how sure it is."""
    rows = counted(score.n, "row")
    if score.moved == (0, 0) or (score.moved is None and score.change == (0, 0)):
        return f"the same in each of {rows}"
    if score.moved is not None:
        gained, lost = score.moved
        p = mcnemar(gained, lost)
        how = (
            f"{gained:,} right only here, {lost:,} only in the first, of {rows} (McNemar p {p:.2g})"
        )
    elif score.change is not None:
        low, high = score.change
        how = f"{low:+.3g} to {high:+.3g} ({LEVEL:.0%} interval over {rows})"
    else:
        return f"not tested by itself ({rows})"
    return f"{'may be chance' if verdict == 'unsure' else verdict}: {how}"
