"""Where the files that come with the program lie: formats, presets, samples, the demo model.

In a checkout they are folders beside the package, where people look for them; an installed package
carries the same folders in `bundled` (pyproject.toml). `importlib.resources` would say no more, as
the engine needs real directories, and would make every `--help` wait for its import.
"""

import os
import sys
from pathlib import Path
from shlex import quote

PACKAGE = Path(__file__).resolve().parents[1]
IS_CHECKOUT = not (PACKAGE / "bundled").is_dir()
ROOT = PACKAGE.parent if IS_CHECKOUT else PACKAGE / "bundled"

CONFIGS = ROOT / "configs"
FORMATS = ROOT / "dataset_info"
SAMPLES = ROOT / "data"
DEMO_MODEL = ROOT / "demo_model"
FORGETTING = PACKAGE / "measures" / "forgetting.jsonl"  # general rows, to see what is forgotten
CONSTRAINTS = ROOT / "constraints.txt"

# What to do about a package that is missing, broken or of another version than the tested one.
REINSTALL = (
    "run `make install`, or `pip install -r requirements.txt` in the project's folder"
    if IS_CHECKOUT
    else f"install this program again, with pip's `--constraint {CONSTRAINTS}`"
)


def python_path(inherited: str | None) -> str:
    """The PYTHONPATH with which a process that is started in any folder finds this package."""
    own = str(PACKAGE.parent) if IS_CHECKOUT else ""
    return os.pathsep.join(filter(None, [own, inherited]))


def tool_command(target: str, module: str) -> str:
    """What a user types to have such a tool: a target of the Makefile, else the module itself."""
    return f"make {target}" if IS_CHECKOUT else f"{quote(sys.executable)} -m {module}"


def tool_home(name: str) -> Path:
    """Where a set-up puts a tool that is no package of this program's: in this Python's
    environment, outside of what it imports, or among the caches."""
    if sys.prefix != sys.base_prefix:
        return Path(sys.prefix) / name
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "llama-factory-fine-tuning" / name
