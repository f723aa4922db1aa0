"""`run.json`: the record of a run as it is read. Only `Run` writes it."""

from pathlib import Path

from fine_tuning.disk import files
from fine_tuning.errors import DataError
from fine_tuning.run.folder import RunFolder
from fine_tuning.values.codec import START_AGAIN, from_json
from fine_tuning.values.record import SCHEMA, RunRecord, result_of
from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES


def read_record(folder: RunFolder, fix: str = START_AGAIN) -> RunRecord | None:
    """What is known of the run, with the paths of its present place; None if there is none.

    Raises DataError for a damaged record (with `fix`), and for one of another version.
    """
    path = folder.record
    if not path.exists():
        return None
    known = files.read_json(path, fix)
    schema = known.get("schema", 1)
    if isinstance(schema, int) and schema != SCHEMA:
        raise _other_version(path, schema)
    record = from_json(known, RunRecord, named=str(path), root=folder.path.absolute(), fix=fix)
    plan = result_of(record.stages.plan)
    if plan and not (plan.chosen.method in METHODS and plan.rows.stage in OBJECTIVES):
        unknown = (
            f"it names a method or stage ({plan.chosen.method}, {plan.rows.stage}) that is none"
        )
        raise DataError(f"{path} cannot be read: {unknown}", fix=fix)
    return record


def _other_version(path: Path, schema: int) -> DataError:
    """Its adapter is as good as ever; only what was recorded of the way there is not understood."""
    run = path.parent
    return DataError(
        f"{path} is the record of {'an older' if schema < SCHEMA else 'a newer'} version of this "
        f"program (format {schema}; this one reads {SCHEMA}).",
        why="what it says of stages and rows is not understood here",
        fix=f"its adapter can be merged with `export --model_name_or_path BASE "
        f"--adapter_name_or_path {run} --export_dir MERGED`, and trained further with "
        f"--adapter_name_or_path {run}; --restart starts the run again (the old state is moved "
        "aside)",
    )
