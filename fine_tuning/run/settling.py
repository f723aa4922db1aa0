"""The settings of a run that was begun: which of them a later command may change."""

from dataclasses import fields, replace
from typing import Any

from fine_tuning.errors import RunConflict
from fine_tuning.values.record import RunRecord
from fine_tuning.values.spec import FREE, DataSpec, RunSpec

# Of these, what is not given now is taken from the run: scores before and after are of one set,
# and Ollama's model keeps its system prompt.
REMEMBERED = frozenset({"score_samples", "ledger", "system"})


def settle(spec: RunSpec, given: frozenset[str], record: RunRecord | None) -> RunSpec:
    """The settings of a run that was begun, with those that may change taken from `spec`.

    `given` names the settings that the user gave now. Raises RunConflict for each one that differs
    from the run's and would make it another run. More epochs are allowed; fewer are not.
    """
    if record is None or (record.begun is None and not record.attempted):
        return spec  # nothing is trained yet: as after --dry_run, or after an early error
    saved = record.settings
    if record.begun is None:
        return _changed(saved, spec, given)
    conflicts: list[str] = []
    merged: dict[str, Any] = {}
    for item in fields(RunSpec):
        name = item.name
        if name == "data":
            merged["data"], found = _settled_data(spec.data, saved.data, given)
            conflicts += found
        elif name == "engine_args":
            merged[name] = {**saved.engine_args, **spec.engine_args}
            conflicts += [
                _conflict(key, saved.engine_args.get(key), value)
                for key, value in spec.engine_args.items()
                if saved.engine_args.get(key) != value and not key.startswith("export_")
            ]
        elif name in FREE and _is_taken(name, given):
            merged[name] = getattr(spec, name)
        elif name not in given or getattr(spec, name) == getattr(saved, name):
            merged[name] = getattr(saved, name)
        elif name == "epochs" and spec.epochs > saved.epochs:
            merged[name] = spec.epochs
        else:
            conflicts.append(_conflict(name, getattr(saved, name), getattr(spec, name)))
    if conflicts:
        raise RunConflict(
            "\n".join([f"{spec.output_dir} holds a run with other settings:", *conflicts]),
            fix="give another --output_dir, or --restart to start this one again "
            "(the old state is moved aside)",
        )
    return RunSpec(**merged)


def _changed(saved: RunSpec, now: RunSpec, given: frozenset[str]) -> RunSpec:
    """The saved settings with all that is given now: nothing was trained that they must fit."""
    of_data = {item.name for item in fields(DataSpec)}
    merged: dict[str, Any] = {
        item.name: getattr(now if _is_taken(item.name, given) else saved, item.name)
        for item in fields(RunSpec)
    }
    merged["engine_args"] = {**saved.engine_args, **now.engine_args}
    new_rows = given & {"dataset_path", "mix"}  # of which there is one: the other one goes
    data = {name: getattr(now.data, name) for name in of_data if new_rows or _is_taken(name, given)}
    merged["data"] = replace(saved.data, **data)
    return RunSpec(**merged)


def _is_taken(name: str, given: frozenset[str]) -> bool:
    return name in given or name in FREE - REMEMBERED


def _settled_data(
    now: DataSpec, saved: DataSpec, given: frozenset[str]
) -> tuple[DataSpec, list[str]]:
    merged: dict[str, Any] = {}
    conflicts = []
    for item in fields(DataSpec):
        new, old = getattr(now, item.name), getattr(saved, item.name)
        merged[item.name] = old
        if item.name in FREE:
            merged[item.name] = new
        elif item.name in given and new != old:
            conflicts.append(_conflict(item.name, old, new))
    return DataSpec(**merged), conflicts


def _conflict(name: str, old: Any, new: Any) -> str:
    return f"  --{name}: it was made with {_shown(old)}, now {_shown(new)} is given"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
