"""The code that the page shows loads what was trained: the logits and prompts of the merged model.

Each kind of result is trained, merged, and loaded by the very code of its page.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.report.facts.page import RunFacts
from fine_tuning.report.told.loading import snippets
from fine_tuning.values.tables.objectives import OBJECTIVES
from tests.models import CHATML, build_mixture, build_model
from tests.pairs import planned_pair
from tests.trainings import Heard, Planned, planned, train_here

pytestmark = pytest.mark.engine

THINKING = CHATML.replace(
    "<|im_start|>assistant\n",
    "<|im_start|>assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose chat template can switch thinking off."""
    return build_model(tmp_path_factory.mktemp("base") / "base", chat_template=THINKING)


@pytest.fixture(scope="module")
def earlier(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters that were trained before."""
    found = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("earlier")
        more = {"eval_strategy": "no"}
        train_here(folder, planned(folder, base, seed=seed, engine_args=more), scored=False)
        found.append(folder / "run")
    return found


def merged(folder: Path, plan: Planned) -> Path:
    from fine_tuning.engine.loading import after_training
    from fine_tuning.engine.worker.merging.merge import merge

    model = after_training(plan.settings, folder / "run")
    merge(
        events=Heard().events,
        settings={**model.loading, "stage": model.stage},
        base=str(plan.settings["model_name_or_path"]),
        partial_dir=str(folder / "merged"),
        probe_rows=str(folder / "dataset" / "train.jsonl"),
        chat_template=None,
    )
    return folder / "merged"


def facts_of(folder: Path, plan: Planned, merged_path: Path | None) -> RunFacts:
    """As the page of the run has them (report/facts/collect.py)."""
    from fine_tuning.report.facts.collect import loading_facts
    from fine_tuning.values.spec import RunSpec

    spec = RunSpec(
        model_name_or_path=str(plan.settings["model_name_or_path"]),
        engine_args={
            name: plan.settings[name]
            for name in ("adapter_name_or_path", "create_new_adapter")
            if name in plan.settings
        },
    )
    off = ("enable_thinking",) if plan.settings.get("enable_thinking") is False else ()
    return RunFacts(
        base_model=str(spec.model_name_or_path),
        chat=plan.plan.rows.kind != "text",
        merged_path=merged_path,
        switched_off=off,
        **loading_facts(folder / "run", spec, plan.plan),
    )


def run_code(code: str) -> Mapping[str, Any]:
    """What the code has made; it asks for few tokens here."""
    made: dict[str, Any] = {}
    exec(code.replace("max_new_tokens=256", "max_new_tokens=2"), made)  # our own code
    return made


KINDS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    *[("sft", method, {}, {}) for method in ("adalora", "ia3", "vera", "ln_tuning")],
    *[(stage, "lora", {}, {}) for stage in ("pt", "dpo", "grpo", "rloo")],
    *[("grpo", method, {}, {}) for method in ("full", "vera")],
    ("sft", "lora", {}, {}),
    *[("sft", "lora", {}, {"quantization": bits}) for bits in ("4bit", "8bit")],
    ("sft", "freeze", {}, {}),
    ("sft", "oft", {}, {}),
    ("rm", "oft", {}, {}),
]


@pytest.mark.parametrize(
    ("stage", "method", "engine_args", "wishes"),
    [
        ("sft", "lora", {"adapter_name_or_path": "both"}, {}),
        ("sft", "lora", {"adapter_name_or_path": "one", "create_new_adapter": True}, {}),
        ("sft", "lora", {"pissa_init": True}, {}),
        ("sft", "lora", {"enable_thinking": False}, {}),
        ("sft", "full", {}, {}),
        ("rm", "lora", {}, {}),
        ("rm", "full", {}, {}),
        *[pytest.param(*kind, marks=pytest.mark.slow) for kind in KINDS],
    ],
)
def test_the_shown_code_loads_the_model_that_was_trained(
    stage: str,
    method: str,
    engine_args: dict[str, Any],
    wishes: dict[str, Any],
    base: Path,
    earlier: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It gave base + the last adapter, let reward models talk, and left thinking on."""
    import torch
    from safetensors.torch import load_file

    adapters = {"both": ",".join(map(str, earlier)), "one": str(earlier[0])}
    engine = {**engine_args, **({} if OBJECTIVES[stage].online else {"eval_strategy": "no"})}
    if "adapter_name_or_path" in engine:
        engine["adapter_name_or_path"] = adapters[engine["adapter_name_or_path"]]
    plan = planned_pair(method, stage, base, tmp_path, engine_args=engine, **wishes)
    train_here(tmp_path, plan, scored=False)
    facts = facts_of(tmp_path, plan, merged(tmp_path, plan))
    shown = [it for it in snippets(facts) if it.language == "python"]
    assert len(shown) == 2, "the merged model, and what was trained"
    capsys.readouterr()
    of_merged, of_trained = (run_code(it.code) for it in shown)
    scores = capsys.readouterr().out.split()
    assert of_merged["inputs"].input_ids.tolist() == of_trained["inputs"].input_ids.tolist()
    prompt = of_merged["tokenizer"].decode(of_merged["inputs"].input_ids[0])
    assert ("</think>" in prompt) == (engine_args.get("enable_thinking") is False)
    if stage == "rm":  # the one is a classifier, without the bias of the value head
        bias = float(load_file(tmp_path / "run" / "value_head.safetensors")["v_head.summary.bias"])
        assert float(scores[0]) + bias == pytest.approx(float(scores[-1]), abs=1e-4)
        assert [it.title for it in snippets(facts) if it.language == "shell"] == []
        return
    with torch.no_grad():
        found, wanted = (
            it["model"](**of_merged["inputs"]).logits for it in (of_trained, of_merged)
        )
        plain = type(of_merged["model"]).from_pretrained(base)(**of_merged["inputs"]).logits
    assert torch.allclose(found, wanted, atol=1e-4)
    assert not torch.allclose(plain, wanted, atol=1e-3), "training changed nothing"
    if stage == "pt":
        return
    chats = [it.code for it in snippets(facts) if it.language == "shell"]
    assert chats
    if engine_args.get("adapter_name_or_path") == "both":
        assert f"--adapter_name_or_path {earlier[0]},{tmp_path / 'run'}" in chats[0]


@pytest.mark.parametrize(
    "method",
    [
        "p_tuning",
        *[pytest.param(it, marks=pytest.mark.slow) for it in ("prompt_tuning", "prefix_tuning")],
    ],
)
def test_the_shown_code_loads_virtual_tokens_as_they_are_scored(
    method: str, base: Path, tmp_path: Path
) -> None:
    """They merge into nothing: what is loaded by the worker is what is compared with."""
    import torch
    from llamafactory.hparams import get_infer_args
    from llamafactory.model import load_model, load_tokenizer

    from fine_tuning.engine.loading import after_training
    from fine_tuning.engine.worker.training.adapters.peft import engine_arguments, installed

    plan = planned_pair(method, "sft", base, tmp_path, engine_args={"eval_strategy": "no"})
    train_here(tmp_path, plan, scored=False)
    (only,) = snippets(facts_of(tmp_path, plan, None))
    shown = run_code(only.code)
    settings = after_training(plan.settings, tmp_path / "run").loading
    model_args, _, finetuning_args, _ = get_infer_args(engine_arguments(settings))
    with installed(settings):
        tokenizer = load_tokenizer(model_args)["tokenizer"]
        scored = load_model(tokenizer, model_args, finetuning_args).float()
    ids = shown["inputs"].input_ids
    with torch.no_grad():
        found, wanted, plain = (
            model(input_ids=ids).logits[:, -ids.shape[1] :]
            for model in (shown["model"].float(), scored, scored.get_base_model())
        )
    assert torch.allclose(found, wanted, atol=1e-4)
    assert not torch.allclose(plain, wanted, atol=1e-3), "training changed nothing"


@pytest.mark.slow
def test_the_shown_code_loads_an_adapter_of_routed_experts(tmp_path: Path) -> None:
    import torch

    mixture = build_mixture(tmp_path / "mixture")
    wishes: dict[str, Any] = {"target_parameters": ("experts",)}
    engine = {"eval_strategy": "no", "lora_dropout": 0}
    plan = planned_pair("lora", "sft", mixture, tmp_path, engine_args=engine, **wishes)
    train_here(tmp_path, plan, scored=False)
    shown = snippets(facts_of(tmp_path, plan, merged(tmp_path, plan)))
    of_merged, of_trained = (run_code(it.code) for it in shown if it.language == "python")
    with torch.no_grad():
        found, wanted = (
            it["model"](**of_merged["inputs"]).logits for it in (of_trained, of_merged)
        )
    assert torch.allclose(found, wanted, atol=1e-4)
