"""Imports go one way (docs/architecture.md), and only the worker imports the engine's stack."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fine_tuning"
FILES = sorted(PACKAGE.rglob("*.py"))

# Who may import whom: a room may import itself and the rooms of its row.
VALUES = {
    "values",
    "errors",
    "screen",
    "units",
    "disk",
    "escaping",
    "hubs",
    "importing",
    "ledger",
    "origins",
}
FOLDERS = {"dataset", "engine", "report", "ship"}
ALLOWED = {
    "errors": set(),
    "units": set(),
    "escaping": set(),
    "disk": {"errors"},
    "ledger": {"errors", "disk"},
    "origins": set(),
    "hubs": {"errors", "disk"},
    "importing": set(),
    "values": {"errors", "units", "disk"},
    "screen": {"errors", "values", "units"},
    "measures": VALUES,
    **dict.fromkeys(FOLDERS, VALUES),
    "report": {*VALUES, "measures"},
    # a stage knows no run; values are handed across by the pipeline
    "stages": {*VALUES, *FOLDERS, "measures"},
    "demo": {"disk"},
    "run": {*VALUES, "demo"},
    "pipeline": {*VALUES, *FOLDERS, "stages", "run"},
    "cli": {*VALUES, *FOLDERS, "measures", "stages", "run", "pipeline", "demo"},
}
HEAVY = {"torch", "transformers", "llamafactory", "peft", "trl", "accelerate", "bitsandbytes"}
HEAVY_ROOMS = ("engine/worker",)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module that the file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            if node.module == "fine_tuning":
                yield from (f"fine_tuning.{item.name}" for item in node.names)
            elif node.module is not None:
                yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    own = room(path)
    if own == "__init__":
        return
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("fine_tuning.")}
    ours.discard("__version__")
    assert own in ALLOWED, f"{own} is a new room: say in ALLOWED what it may import"
    assert ours <= {own, *ALLOWED[own]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_worker_imports_the_engines_stack(path: Path) -> None:
    where = path.relative_to(PACKAGE).as_posix()
    if where.startswith(HEAVY_ROOMS):
        return
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in imports(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_engines_guard_of_trl_is_imported_before_trl(path: Path) -> None:
    """llamafactory.extras.packages mends what TRL asks of installed packages; whoever imported
    llamafactory.model before it had a TRL that wants mergekit."""
    found = [name for name in imports(path) if name.partition(".")[0] in ("llamafactory", "trl")]
    assert not found or not found[0].startswith(("llamafactory.model", "trl")), found


def test_the_whole_front_end_loads_without_torch() -> None:
    """Also indirectly: importing every module of the front end leaves torch out."""
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in FILES
        if not path.relative_to(PACKAGE).as_posix().startswith(HEAVY_ROOMS)
        and path.name != "__main__.py"
    ]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(sorted({'torch', 'transformers', 'llamafactory'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *names]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        env={**os.environ, "PYTHONPATH": os.fspath(PACKAGE.parent)},
        timeout=120,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_no_stage_but_training_and_merging_waits_for_the_libraries_of_trainings() -> None:
    """LLaMA-Factory's trainers bring nltk, scipy and matplotlib, an eighth of all imports."""
    reached: set[str] = set()
    waiting = ["fine_tuning.engine.worker.stages"]
    while waiting:
        name = waiting.pop()
        path = PACKAGE.parent.joinpath(*name.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name not in reached and file.exists():
            waiting += imports(file)
        reached.add(name)
    assert "llamafactory.model" in reached
    assert not [name for name in reached if name.startswith("llamafactory.train")]


def test_no_test_imports_another_test_module() -> None:
    """What two of them need stands in a module of its own, so that each can be moved or removed."""
    found = {
        f"{path.name}: {name}"
        for path in Path(__file__).parent.rglob("*.py")
        for name in re.findall(
            r"^\s*from (tests\.\S*\btest_\w+) import", path.read_text("utf-8"), re.M
        )
    }
    assert found == set()
