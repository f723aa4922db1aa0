"""Each method in each stage, trained for real; the matrix of docs/methods.md is what came of it.

.venv/bin/python -m tests.pairs       trains all of them (minutes), and writes the matrix
"""

import math
import re
import sys
import tempfile
import traceback
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fine_tuning.values.tables.methods import METHODS
from fine_tuning.values.tables.objectives import OBJECTIVES
from fine_tuning.values.tables.pairs import pair_mismatch
from tests.commands import ROOT
from tests.models import build_model
from tests.trainings import Planned, planned, train_here

PAGE = ROOT / "docs" / "methods.md"
MATRIX = re.compile(r"(?<=<!-- pairs -->\n).*?(?=<!-- /pairs -->)", re.DOTALL)
TRAINS = ("llamafactory", "transformers", "peft", "trl", "bitsandbytes", "torch")
SMALL: dict[str, dict[str, Any]] = {
    "oft": {"oft_block_size": 8, "oft_rank": 0},
    "freeze": {"freeze_trainable_layers": 1},
}
# Answers of a model with random weights differ in their first characters, and so do these rewards.
REWARD = "def score(answer, expected):\n    return sum(map(ord, answer.strip()[:20])) % 10\n"
PAIRS = [(method, stage) for method in METHODS for stage in OBJECTIVES]
FITTING = [pair for pair in PAIRS if pair_mismatch(*pair) is None]


def base_model(path: Path, dtype: str = "float32") -> Path:
    """One with biases, and a head apart from its embeddings."""
    return build_model(path, biases=True, tied=False, dtype=dtype)


def planned_pair(method: str, stage: str, model: Path, folder: Path, **wishes: Any) -> Planned:
    """The plan of three steps."""
    engine = {"max_steps": 3, "warmup_steps": 0, **SMALL.get(method, {})}
    engine |= wishes.pop("engine_args", {})
    if OBJECTIVES[stage].online:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "my.py").write_text(REWARD, encoding="utf-8")
        wishes |= {"reward": (f"{folder / 'my.py'}:score",), "batch_size": 8}
        engine |= {"num_generations": 4, "max_completion_length": 8}
        engine["gradient_accumulation_steps"] = 1
    return planned(folder, model, stage, method=method, engine_args=engine, **wishes)


def train_pair(method: str, stage: str, model: Path, folder: Path, **wishes: Any) -> float:
    """Train, scored before and after; the mean loss of a step."""
    plan = planned_pair(method, stage, model, folder, **wishes)
    loss = float(train_here(folder, plan)["metrics"]["train_loss"])
    assert math.isfinite(loss)
    return loss


def matrix(trained: Collection[tuple[str, str]]) -> str:
    """These pairs as a table in Markdown, and with which versions they were trained."""
    head = f"| | {' | '.join(OBJECTIVES)} |\n|{' --- |' * (len(OBJECTIVES) + 1)}\n"
    rows = (
        f"| `{method}` | "
        + " | ".join("yes" if (method, stage) in trained else "-" for stage in OBJECTIVES)
        + " |\n"
        for method in METHODS
    )
    versions = ", ".join(f"{name} {version(name)}" for name in TRAINS)
    return f"{head}{''.join(rows)}\nTrained with {versions}.\n"


def main() -> int:
    """Train all pairs that are not refused, and write down which did."""
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        model = base_model(Path(folder) / "model")
        for method, stage in FITTING:
            try:
                train_pair(method, stage, model, Path(folder) / f"{method}-{stage}")
            except Exception:
                traceback.print_exc()
                failed.append((method, stage))
    page = PAGE.read_text(encoding="utf-8")
    made = matrix([it for it in FITTING if it not in failed])
    PAGE.write_text(MATRIX.sub(lambda _: made, page), encoding="utf-8")
    print(f"{len(FITTING) - len(failed)} of {len(FITTING)} pairs trained")
    for method, stage in failed:
        print(f"failed: --method {method} --stage {stage}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
