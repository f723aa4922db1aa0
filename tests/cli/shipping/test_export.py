"""`export` merges finished runs, and adapters that were trained elsewhere."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.cli.shipping.combining import combining_of
from fine_tuning.cli.shipping.export import require_source, without_gpu
from fine_tuning.engine.process.environment import environment
from fine_tuning.errors import UsageError
from fine_tuning.run.settling import settle
from fine_tuning.values.record import RunRecord
from fine_tuning.values.spec import RunSpec
from tests.adapters import adapter
from tests.commands import command


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no run"),
        ({"adapter_config": "{}"}, "holds an adapter, but no run.json"),
    ],
)
def test_what_is_no_run_is_refused_with_the_way_on(
    files: dict[str, str], message: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / f"{name}.json").write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        require_source(RunSpec(output_dir=tmp_path, export_dir=tmp_path / "m"), {})
    assert caught.value.fix


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({}, "--output_dir is needed"),
        ({"engine_args": {"adapter_name_or_path": "a"}}, "--export_dir is needed"),
        ({"output_dir": Path("r"), "model_name_or_path": "m"}, "knows its base model"),
        (
            {"output_dir": Path("r"), "engine_args": {"adapter_name_or_path": "a"}},
            "knows its base model",
        ),
    ],
)
def test_it_must_be_clear_what_is_merged_and_where_to(wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        require_source(RunSpec(**wishes), {})


def test_a_run_of_a_gpu_is_merged_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """--use_cpu was refused, because the run was trained without it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    words = "--output_dir out --export_dir merged --use_cpu"
    job = without_gpu(resolve(COMMANDS["export"], words.split()))
    trained = RunRecord(created=0.0, command="", settings=RunSpec(), begun={})
    spec = settle(job.spec, frozenset(job.sources), replace(trained, begun={"epochs": 1}))
    assert spec.use_cpu is False, "it would be recorded as a setting of the training"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert environment(spec).get("CUDA_VISIBLE_DEVICES", "") == ""


@pytest.mark.parametrize("flag", ["--template qwen", "--lora_rank 4"])
def test_flags_that_could_only_repeat_the_run_s_record_are_gone(flag: str) -> None:
    words = f"--output_dir out --export_dir merged {flag}"
    with pytest.raises(UsageError, match=r"is a flag of `run`, not of this command"):
        resolve(COMMANDS["export"], words.split())


def combining(words: str) -> Any:
    job = resolve(COMMANDS["export"], words.split())
    require_source(job.spec, job.options)
    return combining_of(job.spec, job.options)


def test_adapters_are_combined_alike_unless_weights_say_otherwise() -> None:
    given = "--adapter_name_or_path a b --combine ties_svd --combined_dir c"
    assert combining(given).weights == (0.5, 0.5)
    made = combining(f"{given} --weights 0.7 -0.3 --density 0.4 --svd_rank 16")
    assert [path.name for path in made.adapters] == ["a", "b"]
    assert (made.weights, made.density, made.svd_rank) == ((0.7, -0.3), 0.4, 16)
    assert combining("--adapter_name_or_path a,b --export_dir m") is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a b --weights 1 2 --export_dir m", "--weights: add --combine"),
        ("a b --combine cat", "--combined_dir, one for the combined adapter"),
        ("a --combine cat --export_dir m", "--combine takes several adapters"),
        ("a b --combine cat --weights 1 --export_dir m", "--weights: 1 for 2 adapters"),
        ("a b --combine cat --weights 1 x --export_dir m", "--weights takes numbers, not 1 x"),
        ("a b --combine cat --density 0.5 --export_dir m", "cat keeps all"),
        ("a b --combine ties --density 3 --export_dir m", "--density must be above 0"),
        ("a b --combine ties --svd_rank 3 --export_dir m", "--svd_rank, at least 1"),
    ],
)
def test_a_combination_that_means_nothing_is_refused(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        combining(f"--adapter_name_or_path {words}")


@pytest.mark.engine
def test_two_adapters_become_one_and_a_model_that_answers_like_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    both = [adapter(tiny_model, tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    (both[0] / "chat_template.jinja").write_text("{{ messages[0].content }}", encoding="utf-8")
    done = command(
        *("export", "--adapter_name_or_path", *both, "--combine", "linear", "--weights", 0.5, 0.7),
        *("--combined_dir", "one", "--export_dir", "merged"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    assert "2 adapters are one: linear, weights 0.5, 0.7." in done.stdout
    assert "It is not the weighted sum of what they add" in done.stdout
    assert "trained with different chat templates" in done.stdout
    assert "answers like base + adapter" in done.stdout
    ids = torch.tensor([[5, 6, 7, 8]])
    plain = AutoModelForCausalLM.from_pretrained(tiny_model)
    tuned = PeftModel.from_pretrained(plain, tmp_path / "one")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.allclose(merged(ids).logits, tuned(ids).logits, atol=1e-4)
    for folder in ("one", "merged"):
        template = (tmp_path / folder / "chat_template.jinja").read_text(encoding="utf-8")
        assert template == "{{ messages[0].content }}"
    card = (tmp_path / "merged" / "README.md").read_text(encoding="utf-8")
    assert "How it was trained is not recorded" in card and "from_pretrained('merged'" in card
