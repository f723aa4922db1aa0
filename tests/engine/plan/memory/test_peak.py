"""The estimate of a step's memory, beside the live tensors of the same step without storage."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.engine

GIB = 1024**3


@pytest.fixture(scope="module")
def bench() -> Any:
    """bench/memory.py, which prints the table of docs/benchmarks.md."""
    path = Path(__file__).parents[4] / "bench" / "memory.py"
    spec = importlib.util.spec_from_file_location("bench_memory", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_memory"] = module
    spec.loader.exec_module(module)
    return module


# Of few layers: an error in what a layer needs shows as well, and each takes a second.
@pytest.mark.parametrize(
    "case",
    [
        {"shape": "0.5B"},
        {"shape": "8B", "rank": 128, "checkpointing": False},
        {"shape": "4B", "quantization": "4bit", "checkpointing": False},
        {"shape": "0.5B", "method": "full"},
        {"shape": "8B", "method": "full", "checkpointing": False, "accumulation": 2},
        {"shape": "8B", "method": "full", "optimizer": "adamw_torch"},
        {"shape": "8B", "method": "freeze", "checkpointing": False},
        {"shape": "0.5B", "stage": "dpo"},
        {"shape": "1.5B", "stage": "dpo", "method": "full"},
        {"shape": "0.5B", "stage": "kto", "batch": 2},
        {"shape": "4B", "half": False, "checkpointing": False},
        {"shape": "8B", "wide": True, "checkpointing": False},
        {"shape": "2.6B", "attention": "eager", "checkpointing": False},
        {"shape": "3.8B", "checkpointing": False},
        {"shape": "8B", "given": {"lora_dropout": 0.1}, "checkpointing": False},
        {"shape": "8B", "given": {"use_dora": True}, "checkpointing": False},
        {"shape": "8B", "given": {"pure_bf16": True}, "checkpointing": False},
        {"shape": "8B", "method": "freeze", "given": {"freeze_trainable_layers": -1}},
        {"shape": "8B", "method": "p_tuning"},
        {"shape": "8B", "method": "vera", "checkpointing": False},
        {"shape": "8B", "method": "ia3", "checkpointing": False},
        {"shape": "30B-A3B", "checkpointing": False},
        pytest.param({"shape": "30B-A3B", "targeted": ("experts",)}, marks=pytest.mark.slow),
        {"shape": "30B-A3B", "targeted": ("experts",), "checkpointing": False},
    ],
    ids=lambda case: " ".join(map(str, case.values())),
)
def test_the_estimate_is_within_5_percent_of_the_live_tensors(
    bench: Any, case: dict[str, Any]
) -> None:
    step = bench.Case(**case, layers=3, length=512)
    assert bench.estimated(step) == pytest.approx(bench.measure(step).peak, rel=0.05)


@pytest.mark.parametrize(
    "case", [{"shape": "0.5B"}, {"shape": "4B", "quantization": "4bit"}], ids=["lora", "4bit"]
)
def test_a_row_is_scored_in_the_memory_of_a_step(bench: Any, case: dict[str, Any]) -> None:
    """Scoring begins with more rows at once, and halves down to one where memory is short."""
    step = bench.Case(**case, layers=3, length=512, batch=1)
    assert bench.measure(step, scored=True).peak < bench.estimated(step)


def test_a_layer_counts_also_where_the_vocabulary_is_small(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Llama 2 has 32,000 tokens: the peak is in a layer's backward pass, not at the loss."""

    def small() -> Any:
        return bench.LlamaConfig(
            vocab_size=1000, hidden_size=1024, intermediate_size=2816, num_attention_heads=16
        )

    monkeypatch.setitem(bench.SHAPES, "small", small)
    for changes in ({"checkpointing": False}, {"method": "full"}):
        step = bench.Case(shape="small", layers=4, batch=2, length=512, **changes)
        assert bench.estimated(step) == pytest.approx(bench.measure(step).peak, rel=0.05)
