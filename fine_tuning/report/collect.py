"""A run folder as it lies on disk -> the facts of its page."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fine_tuning import files
from fine_tuning.report.facts import (
    Artefact,
    CurvePoint,
    DataAccount,
    Failure,
    FileRows,
    Lengths,
    Parity,
    Proof,
    RunFacts,
    Sample,
    Score,
    Status,
    TokenDifference,
)
from fine_tuning.values.shown import Choice, MaskedRow, ProblemGroup, Span

STATUSES: Mapping[str, Status] = {
    "done": "done",
    "failed": "failed",
    "interrupted": "interrupted",
    "running": "running",
    "dry_run": "dry_run",
}


def collect(run_dir: Path) -> RunFacts:
    """Everything known of a run; a stage that has not happened is left out of the page."""
    record = _read(run_dir / "run.json")
    stages = record.get("stages", {})
    results = {name: stage.get("result") or {} for name, stage in stages.items()}
    choices = tuple(Choice(**choice) for choice in record.get("choices", ()))
    by_name = {choice.name: choice for choice in choices}
    tokens = results.get("tokens", {})
    scores = _read(run_dir / "scores.json")
    settings = record.get("settings", {})
    merged = results.get("merge", {}).get("path")
    # somebody who pressed Ctrl-C need not be told that something went wrong
    failure = None if record.get("status") == "interrupted" else record.get("failure")
    return RunFacts(
        title=_title(run_dir, settings),
        status=STATUSES.get(record.get("status", ""), "running"),
        failure=Failure(**failure, log=str(run_dir / "logs" / "engine.log")) if failure else None,
        command=record.get("command", ""),
        created=_date(record.get("created")),
        durations={n: s["seconds"] for n, s in stages.items() if s.get("seconds") is not None},
        settings=choices,
        versions=record.get("versions", {}),
        device=by_name["device"].value if "device" in by_name else "",
        warnings=tuple(record.get("warnings", ())),
        base_model=str(settings.get("model_name_or_path") or ""),
        method=str(settings.get("method", "")),
        template=str((tokens.get("template") or {}).get("name") or ""),
        chat=results.get("check", {}).get("kind") != "text",
        parity=parity_of(tokens),
        data=_data(record, results, run_dir),
        curves=_curves(run_dir),
        scores=_scores(scores),
        samples=_samples(scores),
        masked=masked_of(tokens),
        adapter_path=run_dir if (run_dir / "adapter_config.json").exists() else None,
        merged_path=Path(merged) if merged else None,
        proof=_proof(results.get("merge", {})),
        artefacts=_artefacts(run_dir, merged),
        train_yaml=run_dir / "train.yaml" if (run_dir / "train.yaml").exists() else None,
    )


def _title(run_dir: Path, settings: Mapping[str, Any]) -> str:
    """`model on data`, or the folder's name if the run never got so far."""
    model = Path(str(settings.get("model_name_or_path") or "")).name
    paths = settings.get("data", {}).get("dataset_path") or []
    data = ", ".join(Path(path).name for path in paths[:2]) + (" ..." if len(paths) > 2 else "")
    return f"{model} on {data}" if model and data else run_dir.name


def _read(path: Path) -> dict[str, Any]:
    return files.read_json(path, "delete it, and the page is made without it, or put a copy back")


def _date(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def parity_of(tokens: Mapping[str, Any]) -> Parity | None:
    """How the trained template compares with the model's own; None if it has none."""
    template = tokens.get("template")
    if not template or template["parity"] == "none":
        return None
    difference = template["difference"]
    differences: tuple[TokenDifference, ...] = ()
    if difference and "ours_tokens" in difference:
        differences = (
            TokenDifference(
                row=f"first difference at token {difference['at']}",
                trained=tuple(difference["ours_tokens"]),
                served=tuple(difference["own_tokens"]),
            ),
        )
    return Parity(
        equal=template["parity"] == "equal",
        rows_compared=tokens.get("compared", 0),
        message=_with_shipped(template),
        differences=differences,
    )


def _with_shipped(template: Mapping[str, Any]) -> str:
    """Why the template was taken, and which one goes out if it is not the model's own."""
    reason = str(template["reason"])
    shipped = template.get("shipped")
    if shipped is None:
        return reason
    if shipped:
        return f"{reason}. The trained template is shipped."
    return (
        f"{reason}. It cannot be shipped as a chat template: {template['unwritten']}. The model's "
        "own is shipped, so a server sends other prompts than were trained."
    )


def _proof(merge: Mapping[str, Any]) -> Proof | None:
    known = merge.get("proof")
    if not known or "proved" not in known:
        return None
    names = {field.name for field in fields(Proof)}
    return Proof(**{name: value for name, value in known.items() if name in names})


def _data(
    record: Mapping[str, Any], results: Mapping[str, Any], run_dir: Path
) -> DataAccount | None:
    checked = results.get("check")
    if not checked:
        return None
    split, tokens = results.get("split", {}), results.get("tokens", {})
    trained = results.get("train", {})
    expected = trained.get("expected") or {}
    groups = [*record.get("problems", ()), *record.get("split_problems", ())]
    problems = tuple(ProblemGroup(**group) for group in groups)
    return DataAccount(
        format=checked["format"],
        evidence=checked["files"][0]["evidence"] if checked["files"] else "",
        files=tuple(
            FileRows(
                path=file["path"],
                read=file["rows_read"],
                kept=file["rows_kept"],
                dropped=file["rows_dropped"],
                format=file["format"],
                encoding=file["encoding"],
                evidence=file["evidence"],
            )
            for file in checked["files"]
        ),
        rows_read=checked["rows_read"],
        rows_kept=checked["rows_kept"],
        rows_dropped=checked["rows_dropped"],
        problems=problems,
        findings=checked.get("findings", {}),
        split={"training": split["train_rows"], "validation": split["val_rows"]} if split else {},
        split_dropped=split.get("dropped", {}),
        overlong=split.get("cut", {}),
        lengths=lengths_of(tokens),
        engine_expected=expected.get("count"),
        engine_counted=trained.get("encoded"),
        engine_unit=expected.get("unit", "rows"),
        rejected_path=str(run_dir / "dataset" / "rejected.jsonl")
        if checked["rows_dropped"]
        else "",
        report_path=str(run_dir / "dataset" / "report.json"),
        notes=tuple(split.get("notes", ())),
    )


def lengths_of(tokens: Mapping[str, Any]) -> Lengths | None:
    """Token lengths of all rows; None before the look at the tokens."""
    if not tokens:
        return None
    bins, start = [], 0
    for end, count in tokens["histogram"]:
        bins.append((start, end, count))
        start = end
    return Lengths(
        bins=tuple(bins),
        percentiles=tokens["percentiles"],
        cutoff=tokens["cutoff"],
        over_cutoff=len(tokens["overlong"]),
        cutoff_costs={int(cutoff): rows for cutoff, rows in tokens.get("over", {}).items()},
    )


def _curves(run_dir: Path) -> tuple[CurvePoint, ...]:
    """What the trainer logged, from the finished run or from its last checkpoint."""
    states = [run_dir / "trainer_state.json"]
    states += sorted(run_dir.glob("checkpoint-*/trainer_state.json"), key=_step, reverse=True)
    state = next((read for path in states if (read := _read(path))), None)
    points: dict[int, dict[str, float]] = {}
    for entry in (state or {}).get("log_history", ()):
        known = points.setdefault(int(entry["step"]), {})
        for name in ("loss", "learning_rate", "grad_norm", "eval_loss"):
            if isinstance(entry.get(name), int | float):
                known[name] = float(entry[name])
    return tuple(CurvePoint(step=step, **points[step]) for step in sorted(points) if points[step])


def _step(path: Path) -> int:
    number = path.parent.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else 0


def _scores(scores: Mapping[str, Any]) -> tuple[Score, ...]:
    before = scores.get("before", {}).get("metrics", {})
    after = scores.get("after", {}).get("metrics", {})
    if after and before.get("n") != after.get("n"):
        before = {}  # of other rows, which says nothing about what training changed
    known = {**before, **after}
    rows = int(known.get("n", 0))
    found = []
    if "exact_match" in known:
        found.append(
            Score(
                name="Exact match",
                before=before.get("exact_match"),
                after=after.get("exact_match"),
                n=rows,
                kind="share",
            )
        )
    found += [
        Score(name=title, before=before.get(name), after=after.get(name), n=rows, better="lower")
        for name, title in (("loss", "Loss of the answers"), ("perplexity", "Perplexity"))
        if name in known
    ]
    return tuple(found)


def _samples(scores: Mapping[str, Any]) -> tuple[Sample, ...]:
    before = scores.get("before", {}).get("samples", [])
    after = scores.get("after", {}).get("samples", [])
    found = []
    for index in range(max(len(before), len(after))):
        one = after[index] if index < len(after) else before[index]
        old = before[index]["answer"] if index < len(before) else None
        new = after[index]["answer"] if index < len(after) else None
        found.append(
            Sample(
                prompt=one["question"],
                expected=one["expected"],
                before=old,
                after=new,
                correct_before=None if old is None else old == one["expected"],
                correct_after=None if new is None else new == one["expected"],
            )
        )
    return tuple(found)


def masked_of(tokens: Mapping[str, Any]) -> tuple[MaskedRow, ...]:
    """The rows that the worker encoded, with trained and masked text told apart."""
    return tuple(
        MaskedRow(
            title=f"row {view['row']}: {view['trained']} of {view['tokens']} tokens are trained",
            spans=tuple(Span(text, trained) for text, trained in view["spans"]),
        )
        for view in tokens.get("views", ())
    )


def _artefacts(run_dir: Path, merged: str | None) -> tuple[Artefact, ...]:
    wanted = (
        ("adapter_model.safetensors", "the adapter"),
        ("train.yaml", "what LLaMA-Factory was given"),
        ("dataset", "the checked rows, their report and what was rejected"),
        ("logs/engine.log", "LLaMA-Factory's whole output"),
    )
    found = [
        Artefact(path=str(run_dir / name), size=_size(run_dir / name), what=what)
        for name, what in wanted
        if (run_dir / name).exists()
    ]
    if merged and Path(merged).is_dir():
        found.append(Artefact(path=merged, size=_size(Path(merged)), what="the merged model"))
    return tuple(found)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
