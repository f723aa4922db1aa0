"""Several adapters become one: what it adds is the arithmetic of what they add, and said if not."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.errors import EngineError
from tests.adapters import adapter, added

pytestmark = pytest.mark.engine

WEIGHTS = (0.7, -0.3)


def combined(base: Path, adapters: list[Path], how: str, path: Path, **more: Any) -> dict[str, Any]:
    from fine_tuning.engine.worker.events import Events
    from fine_tuning.engine.worker.merging.combine import combine

    asked: dict[str, Any] = {"density": 0.5, "svd_rank": None, "seed": 1, **more}
    path.mkdir()
    return combine(
        events=Events(StringIO()),
        base=str(base),
        trust_remote_code=False,
        adapters=list(map(str, adapters)),
        weights=WEIGHTS,
        how=how,
        partial_dir=str(path),
        **asked,
    )


@pytest.fixture(scope="module")
def pair(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of other ranks, scales and layers."""
    folder = tmp_path_factory.mktemp("adapters")
    return [
        adapter(tiny_model, folder / "a", seed=1, use_rslora=True),
        adapter(tiny_model, folder / "b", seed=2, rank=6, target_modules=["v_proj", "down_proj"]),
    ]


@pytest.mark.parametrize(("how", "rank"), [("cat", None), ("svd", 10)])
def test_cat_is_the_weighted_sum_of_what_the_adapters_add(
    tiny_model: Path, pair: list[Path], tmp_path: Path, how: str, rank: int | None
) -> None:
    """After rsLoRA cat was scaled by the root of its rank; svd had each scale twice."""
    import torch

    made = combined(tiny_model, pair, how, tmp_path / how, svd_rank=rank)
    assert (made["rank"], made["layers"]) == (10, 6)
    assert made["apart"] < 1e-6
    first, second = (added(tiny_model, path) for path in pair)
    for name, found in added(tiny_model, tmp_path / how).items():
        wanted = WEIGHTS[0] * first[name] + WEIGHTS[1] * second[name]
        assert torch.allclose(found, wanted, atol=1e-7), name


def test_linear_adds_the_factors_and_says_how_far_from_the_sum_that_is(
    tiny_model: Path, pair: list[Path], tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    other = adapter(tiny_model, tmp_path / "c", seed=3, use_rslora=True)
    adapters = [pair[0], other]
    made = combined(tiny_model, adapters, "linear", tmp_path / "linear")
    scale = 8 / 4**0.5  # rsLoRA's: alpha over the root of the rank
    roots = [(0.7 * scale) ** 0.5, -((0.3 * scale) ** 0.5)]
    first, second, found = (
        load_file(path / "adapter_model.safetensors") for path in (*adapters, tmp_path / "linear")
    )
    for name, weight in found.items():
        wanted = roots[0] * first[name] + roots[1] * second[name]
        assert torch.allclose(weight, wanted, atol=1e-6), name
    one, two, both = (added(tiny_model, path) for path in (*adapters, tmp_path / "linear"))
    sums = {name: WEIGHTS[0] * one[name] + WEIGHTS[1] * two[name] for name in both}
    squares = [
        (float((both[name] - wanted).square().sum()), float(wanted.square().sum()))
        for name, wanted in sums.items()
    ]
    apart = (sum(it for it, _ in squares) / sum(it for _, it in squares)) ** 0.5
    assert made["apart"] == pytest.approx(apart, rel=1e-3) and apart > 0.1


@pytest.mark.parametrize("how", ["ties_svd", "dare_linear_svd", "magnitude_prune_svd", "svd"])
def test_the_other_ways_give_an_adapter_that_loads(
    tiny_model: Path, pair: list[Path], tmp_path: Path, how: str
) -> None:
    made = combined(tiny_model, pair, how, tmp_path / "made")
    assert made["rank"] == 6 and 0 < made["apart"] < 1.5
    assert any(bool(weight.any()) for weight in added(tiny_model, tmp_path / "made").values())


def test_weights_of_no_layer_are_named(tiny_model: Path, tmp_path: Path) -> None:
    """PEFT reads what it knows, and the base would be served in silence."""
    from safetensors.torch import load_file, save_file

    good = adapter(tiny_model, tmp_path / "good", seed=1)
    file = adapter(tiny_model, tmp_path / "bad", seed=2) / "adapter_model.safetensors"
    renamed = {name.replace("q_proj", "wq"): it for name, it in load_file(file).items()}
    save_file(renamed, file)
    with pytest.raises(EngineError, match=r"4 of its weights belong to no layer .*wq"):
        combined(tiny_model, [good, file.parent], "cat", tmp_path / "made")
