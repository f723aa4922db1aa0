"""What a worker imports, and what it does not."""

import gc
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def test_a_model_of_neither_is_adapted_and_saved_without_deepspeed_and_bitsandbytes(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run imported both: only to learn that its model was none of theirs."""
    from fine_tuning.engine.worker.libraries import stages

    assert "merge" in stages() and gc.isenabled() and gc.get_freeze_count()
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    heavy = ("deepspeed", "bitsandbytes")
    for name in [known for known in sys.modules if known.split(".")[0] in heavy]:
        monkeypatch.delitem(sys.modules, name)  # other tests have imported them
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.save_pretrained(tmp_path / "m")
    get_peft_model(model, LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path / "a")
    assert not set(heavy) & set(sys.modules)


def test_the_libraries_are_imported_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that starts early is to import while the front end reads: it waited to be asked."""
    from fine_tuning.engine.worker import __main__ as worker
    from fine_tuning.engine.worker import libraries

    done: list[str] = []

    def requests(*given: Any) -> Iterator[dict[str, Any]]:
        done.append("asked")
        yield from ()

    monkeypatch.setattr(libraries, "stages", lambda: done.append("imported"))
    monkeypatch.setattr(worker, "requests", requests)
    monkeypatch.setattr(worker, "divert_output", lambda log: io.StringIO())
    monkeypatch.setattr(worker, "divert_input", io.StringIO)
    monkeypatch.setattr(worker, "end_with_front_end", lambda: None)
    monkeypatch.setattr(sys, "argv", ["worker", str(tmp_path / "engine.log")])
    assert worker.main() == 0 and done == ["imported", "asked"]
