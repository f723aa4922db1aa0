"""What a user loads with Transformers or PEFT is what was trained, or it is said why not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fine_tuning.errors import ModelError
from fine_tuning.ship.proving.causes import judge
from fine_tuning.stages.asking.chat import Together
from fine_tuning.stages.asking.prove import replay_adapters
from fine_tuning.values.answers.verdict import Verdict
from fine_tuning.values.spec import RunSpec
from fine_tuning.values.tables.combining import Combining
from tests.contracts import (
    HERE,
    QUIET,
    Trained,
    build_trained,
    json_of,
    rounded_without_a_word,
    weights_of,
)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return build_trained(tmp_path_factory.mktemp("trained"))


def test_a_contract_has_rows_of_all_kinds(trained: Trained) -> None:
    contract = trained.contract
    asked = {one.name: one for one in contract.conversations}
    assert len(asked) == 8
    assert any("\u4e00" <= letter <= "\u9fff" for letter in asked["Chinese"].prompt)
    assert asked["functions"].tools and "get_weather" in asked["functions"].prompt
    assert [it["role"] for it in asked["a function's result"].messages] == [
        *("user", "assistant", "tool")
    ]
    assert asked["Chinese, system prompt"].messages[0]["role"] == "system"
    assert contract.stops == ("<|im_end|>",) and contract.adapter and contract.template
    assert (contract.dtype, contract.stored) == ("float32", "bfloat16")
    for one in contract.conversations:
        assert len(one.positions) == len(one.answer_ids) <= 32
        assert all(len(it.top) == 5 for it in one.positions)
        assert {*one.positions[0].scaled} == {"0", "0.25", "0.5", "2"}
        assert one.positions[0].top[0][0] == one.answer_ids[0]


def silenced(trained: Trained, folder: Path) -> Path:
    """A second adapter, which changes nothing."""
    adapter = trained.copy("adapter", folder)
    with weights_of(adapter / "adapter_model.safetensors") as tensors:
        tensors |= {name: it * 0 for name, it in tensors.items() if "lora_B" in name}
    return adapter


def test_adapters_upon_one_base_are_proved_one_by_one(trained: Trained, tmp_path: Path) -> None:
    other = silenced(trained, tmp_path / "other")
    contracts = {str(other): trained.contract, str(trained.adapter): trained.contract}
    found = replay_adapters(RunSpec(model_name_or_path=str(trained.base)), contracts, HERE, QUIET)
    first, second = (judge(trained.contract, replay) for replay in found)
    assert [finding.cause for finding in first.findings] == ["adapter not loaded"]
    assert second.holds, second.findings


@pytest.mark.parametrize(("weights", "holds"), [((1.0, 0.0), True), ((0.5, 0.5), False)])
def test_adapters_together_are_proved_as_one(
    trained: Trained, tmp_path: Path, weights: tuple[float, float], holds: bool
) -> None:
    adapters = (trained.adapter, silenced(trained, tmp_path / "other"))
    combining = Combining(how="cat", adapters=adapters, weights=weights)
    together = Together(combining=combining, target=tmp_path / "together", worker=HERE)
    named = {"adapter_name_or_path": ",".join(map(str, adapters))}
    spec = RunSpec(model_name_or_path=str(trained.base), engine_args=named)
    verdict = judge(trained.contract, trained.asking(tmp_path).of_folder(spec, HERE, together))
    assert verdict.holds is holds, verdict.findings


def test_coarser_formats_move_a_model_farther(trained: Trained) -> None:
    noise = trained.contract.noise
    means = [noise[it].mean for it in ("float16", "bfloat16", "8 bits", "6 bits", "5 bits")]
    means += [noise[f"{bits} bits"].mean for bits in (4, 3, 2)]
    assert means == sorted(means) and 0 < means[0] < 0.02
    assert noise["6 bits"].mean < noise["fp8"].mean < noise["5 bits"].mean


def verdict_of(trained: Trained, base: Path, adapter: Path | None = None) -> Verdict:
    return judge(trained.contract, trained.replayed(base, adapter))


def test_what_was_trained_is_proved_merged_and_unmerged(trained: Trained) -> None:
    for verdict in (
        verdict_of(trained, trained.merged),
        verdict_of(trained, trained.base, trained.adapter),
    ):
        assert verdict.holds, verdict.findings
        assert {one.prompt for one in verdict.conversations} == {"equal"}
        assert {one.answer for one in verdict.conversations} <= {"equal", "close"}
        assert max(one.drift or 0 for one in verdict.conversations) <= verdict.allowed


def test_a_base_of_fewer_tokens_is_named(trained: Trained, tiny_model: Path) -> None:
    """It ended in `IndexError: index out of range in self`."""
    with pytest.raises(ModelError, match=r"has 302 tokens, and the contract asks with token"):
        trained.replayed(tiny_model)


Spoilt = Callable[[Trained, Path], tuple[Path, Path | None]]


def another_template(trained: Trained, folder: Path) -> tuple[Path, Path | None]:
    """Somebody saved the model with a template that begins with a system prompt of its own."""
    place = trained.copy("merged", folder / "merged")
    with json_of(place / "tokenizer_config.json") as config:
        config["chat_template"] = (
            "<|im_start|>system\nBe kind.<|im_end|>\n" + config["chat_template"]
        )
    return place, None


def no_stop_token(trained: Trained, folder: Path) -> tuple[Path, Path | None]:
    place = trained.copy("merged", folder / "merged")
    with json_of(place / "generation_config.json") as config:
        config["eos_token_id"] = 3
    return place, None


def another_base(trained: Trained, folder: Path) -> tuple[Path, Path | None]:
    """A later revision of the base: each of its matrices is a little different."""
    import torch

    place = trained.copy("base", folder / "base")
    torch.manual_seed(1)
    with weights_of(place / "model.safetensors") as weights:
        for weight in weights.values():
            if weight.ndim == 2:
                weight += torch.randn(weight.shape) * weight.float().std() * 0.5
    return place, trained.adapter


def keys_nobody_reads(trained: Trained, folder: Path) -> tuple[Path, Path | None]:
    place = trained.copy("adapter", folder / "adapter")
    with weights_of(place / "adapter_model.safetensors") as weights:
        for name in list(weights):
            weights[name.replace("base_model.model.model.", "base_model.model.")] = weights.pop(
                name
            )
    return trained.base, place


def doubled_alpha(trained: Trained, folder: Path) -> tuple[Path, Path | None]:
    place = trained.copy("adapter", folder / "adapter")
    with json_of(place / "adapter_config.json") as config:
        config["lora_alpha"] *= 2
    return trained.base, place


@pytest.mark.parametrize(
    ("spoilt", "cause"),
    [
        (another_template, "template"),
        (no_stop_token, "stop token"),
        (another_base, "base or weights"),
        (rounded_without_a_word, "dtype"),
        (keys_nobody_reads, "adapter keys"),
        (doubled_alpha, "adapter scale"),
        (lambda trained, folder: (trained.base, None), "adapter not loaded"),
    ],
)
def test_what_is_served_otherwise_is_caught_with_its_cause(
    trained: Trained, spoilt: Spoilt, cause: str, tmp_path: Path
) -> None:
    verdict = verdict_of(trained, *spoilt(trained, tmp_path))
    assert [finding.cause for finding in verdict.findings] == [cause], verdict.findings
    assert not verdict.holds
