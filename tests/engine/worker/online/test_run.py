"""Online training through TRL, on LLaMA-Factory's loading: what is asked, learned from and kept."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from fine_tuning.errors import RowsError, UsageError
from tests.trainings import (
    Heard,
    Planned,
    largest_difference,
    planned,
    rows_of,
    train_here,
    weights_of,
)

pytestmark = pytest.mark.engine

# Answers of a model with random weights differ in their first characters, and so do these rewards.
COUNTING = """
def score(answer, expected):
    return sum(map(ord, answer.strip()[:20])) % 10
"""

OTHERS = ("oft", "freeze", "vera")
AS_VERA = ("ia3", "ln_tuning")  # PEFT switches them off in the same way


def online(folder: Path, model: Path, stage: str = "grpo", **wishes: Any) -> Planned:
    """Three steps with four answers of eight tokens to each of two prompts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "my.py").write_text(wishes.pop("code", COUNTING), encoding="utf-8")
    engine = {
        "max_steps": 3,
        "num_generations": 4,
        "max_completion_length": 8,
        "gradient_accumulation_steps": 1,
        "warmup_steps": 0,
        **wishes.pop("engine_args", {}),
    }
    given = {"batch_size": 8, "reward": (f"{folder / 'my.py'}:score",), **wishes}
    return planned(folder, model, stage=stage, engine_args=engine, **given)


def logged(run: Path) -> list[dict[str, float]]:
    history = json.loads((run / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    return [entry for entry in history if "reward" in entry]


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("grpo")
    return folder, train_here(folder, online(folder, tiny_model))


def test_the_model_learns_from_the_rewards_of_its_own_answers(
    trained: tuple[Path, Any], tiny_model: Path
) -> None:
    folder, result = trained
    logs = logged(folder / "run")
    assert [log["step"] for log in logs] == [1, 2, 3]
    assert all(log["reward_std"] > 0 and log["grad_norm"] > 0 for log in logs)
    assert max(float(it.abs().max()) for it in weights_of(folder / "run").values()) > 0
    assert result["encoded"] == 12
    assert logs[0]["epoch"] == 1 / online(folder / "again", tiny_model).plan.chosen.per_epoch


def test_better_answers_become_likelier(tiny_model: Path, tmp_path: Path) -> None:
    """With the wrong sign they become rarer, and losses and gradients look alike."""
    kept = tmp_path / "kept.jsonl"
    code = (
        "import json\n"
        "def score(completions, prompts, completion_ids):\n"
        "    rewards = [sum(map(ord, it[0]['content'].strip()[:20])) % 10 for it in completions]\n"
        f"    with open({str(kept)!r}, 'a') as file:\n"
        "        for one in zip(prompts, completion_ids, rewards):\n"
        "            file.write(json.dumps(one) + '\\n')\n"
        "    return rewards\n"
    )
    plan = online(tmp_path, tiny_model, code=code, engine_args={"max_steps": 1, "beta": 0.0})
    train_here(tmp_path, plan, scored=False)
    answers = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    groups = [[one for one in answers if one[0] == asked] for asked, _, _ in answers]
    better = [
        one[2] - fmean(it[2] for it in group) for one, group in zip(answers, groups, strict=True)
    ]
    before = likelihoods(tiny_model, answers)
    after = likelihoods(tiny_model, answers, tmp_path / "run")
    changes = zip(better, before, after, strict=True)
    assert sum(by * (new - old) for by, old, new in changes) > 0.1


def likelihoods(base: Path, answers: list[Any], adapter: Path | None = None) -> list[float]:
    """The logarithm of each answer's likelihood: (messages, ids of the answer, anything)."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    found = []
    for messages, answer, _ in answers:
        asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([asked + answer])).logits[0, len(asked) - 1 : -1]
        chosen = logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])
        found.append(float(chosen.sum()))
    return found


def test_the_model_as_it_was_is_what_the_distance_is_measured_from(
    trained: tuple[Path, Any],
) -> None:
    first, *_, last = logged(trained[0] / "run")
    assert first["kl"] == 0
    assert last["kl"] > 0


def test_held_out_rows_are_rewarded_before_and_after(trained: tuple[Path, Any]) -> None:
    folder, result = trained
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    for name in ("before", "after"):
        side = scores[name]
        assert len(side["samples"]) == 4
        rewards = [sum(map(ord, it["answer"][:20])) % 10 for it in side["samples"]]
        assert [it["reward"] for it in side["samples"]] == rewards
        assert side["metrics"]["reward"] == pytest.approx(sum(rewards) / 4)
        assert all(0 < it["tokens"] <= 8 for it in side["samples"])
    assert result["before"]["reward"] == scores["before"]["metrics"]["reward"]


def test_answers_that_are_all_cut_off_are_said(trained: tuple[Path, Any]) -> None:
    _, result = trained
    assert any("answers are cut off" in alarm for alarm in result["alarms"]), result["alarms"]


@pytest.mark.parametrize(
    ("stage", "wishes"),
    [
        ("grpo", {"method": "full"}),
        ("rloo", {}),
        ("rloo", {"method": "full"}),
        ("grpo", {"quantization": "4bit"}),
        ("grpo", {"quantization": "8bit"}),
        *(("grpo", {"method": method}) for method in OTHERS),
        *(pytest.param("grpo", {"method": it}, marks=pytest.mark.slow) for it in AS_VERA),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value.values()) or "lora",
)
def test_every_method_starts_as_its_own_reference(
    stage: str, wishes: Mapping[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    plan = online(tmp_path, tiny_model, stage, engine_args={"max_steps": 2}, **wishes)
    train_here(tmp_path, plan, scored=False)
    first, second = logged(tmp_path / "run")
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert abs(second["kl"]) > 1e-9


def test_the_tuned_model_that_a_training_starts_from_is_its_reference(
    trained: tuple[Path, Any], tiny_model: Path, tmp_path: Path
) -> None:
    """Without the new adapter the model is base and first adapter, as after supervised training."""
    plan = online(
        tmp_path,
        tiny_model,
        engine_args={"adapter_name_or_path": str(trained[0] / "run"), "max_steps": 1},
    )
    result = train_here(tmp_path, plan)
    assert logged(tmp_path / "run")[0]["kl"] == 0
    assert result["before"] == pytest.approx(trained[1]["after"])
    first, new = weights_of(trained[0] / "run"), weights_of(tmp_path / "run")
    assert largest_difference(first, new) > 0


def test_a_training_that_is_continued_is_the_one_that_would_have_gone_on(
    trained: tuple[Path, Any], tiny_model: Path, tmp_path: Path
) -> None:
    stopped = COUNTING + "    # not reached\n"
    calls = "CALLS = [0]\n" + COUNTING.replace(
        "    return", "    CALLS[0] += 1\n    assert CALLS[0] <= 18\n    return"
    )
    plan = online(tmp_path, tiny_model, code=calls, engine_args={"save_steps": 100})
    with pytest.raises(RowsError) as caught:
        train_here(tmp_path, plan, scored=False)
    assert f"{tmp_path / 'my.py'}:5" in caught.value.what
    assert caught.value.rows
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    assert checkpoint.name == "checkpoint-2"
    (tmp_path / "my.py").write_text(stopped, encoding="utf-8")
    forget_rewards()
    train_here(tmp_path, plan, scored=False, resume_from=str(checkpoint))
    assert logged(tmp_path / "run")[-1]["reward"] == logged(trained[0] / "run")[-1]["reward"]
    whole, continued = weights_of(trained[0] / "run"), weights_of(tmp_path / "run")
    assert largest_difference(whole, continued) < 1e-6


def forget_rewards() -> None:
    """As a new process would have none."""
    from fine_tuning.engine.worker.scoring.rewards.rewarded import judge_for

    judge_for.cache_clear()


def test_answers_are_sampled_with_a_cache_and_together(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the prompts each pass of the model reads one token of every answer."""
    from transformers import LlamaForCausalLM

    shapes: list[tuple[int, ...]] = []
    known: Callable[..., Any] = LlamaForCausalLM.forward

    def forward(model: Any, input_ids: Any = None, *given: Any, **named: Any) -> Any:
        if named.get("use_cache"):
            shapes.append(tuple(input_ids.shape))
        return known(model, input_ids, *given, **named)

    monkeypatch.setattr(LlamaForCausalLM, "forward", forward)
    plan = online(tmp_path, tiny_model, engine_args={"max_steps": 1})
    train_here(tmp_path, plan, scored=False)
    first, *others = shapes
    assert first[0] == 8 and first[1] > 8
    assert 0 < len(others) < 8 and set(others) == {(8, 1)}


def test_a_prompt_is_what_a_server_sends(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    seen = tmp_path / "seen.txt"
    code = (
        "def score(completions, prompts, expected, completion_ids):\n"
        f"    open({str(seen)!r}, 'a').write(str(prompts[0]) + expected[0])\n"
        "    return list(range(len(completions)))\n"
    )
    plan = online(tmp_path, tiny_model, code=code, engine_args={"max_steps": 1})
    train_here(tmp_path, plan, scored=False)
    assert "'role': 'user', 'content': 'What is" in seen.read_text(encoding="utf-8")
    assert "It is" in seen.read_text(encoding="utf-8")
    assert AutoTokenizer.from_pretrained(tmp_path / "run").eos_token == "<|im_end|>"


def test_an_argument_of_the_other_trainer_is_refused_before_a_model_is_loaded(
    tiny_model: Path, tmp_path: Path
) -> None:
    plan = online(tmp_path, tiny_model, "rloo", engine_args={"scale_rewards": "none"})
    with pytest.raises(UsageError, match="--scale_rewards does not go with --stage rloo"):
        train_here(tmp_path, plan, scored=False)


def test_answers_of_one_reward_teach_nothing_and_are_no_failure(
    tiny_model: Path, tmp_path: Path
) -> None:
    """No gradient then says nothing about the tensors that are trained."""
    code = "def score(answer): return 1"
    plan = online(tmp_path, tiny_model, code=code, engine_args={"beta": 0.0})
    heard = Heard()
    train_here(tmp_path, plan, scored=False, heard=heard)
    notes = [note["text"] for note in heard.of("note")]
    assert any("in 100% of the groups all answers get the same reward" in it for it in notes)
    assert any("in no step did the answers to a prompt get different rewards" in it for it in notes)


@pytest.fixture(scope="module")
def reward_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tiny_model, tmp_path_factory.mktemp("rm") / "whole")


def classifier(model: Path, folder: Path, change: Callable[[Any], None] = lambda it: None) -> Path:
    """What a run of --stage rm exports."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    change(tokenizer)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    made = AutoModelForSequenceClassification.from_pretrained(
        model, num_labels=1, dtype=torch.float32
    )
    made.save_pretrained(folder)
    return folder


def judged_by(folder: Path, model: Path, rewards: Path) -> Planned:
    plan = online(folder, model, reward=(str(rewards),), engine_args={"max_steps": 1})
    models = {str(rewards): {"settings": {"classifier": str(rewards)}, "served": None}}
    asked = {**plan.train.of_worker["asked"], "models": models}
    return replace(plan, train=replace(plan.train, of_worker={"asked": asked}))


def test_a_reward_model_judges_whole_conversations(
    reward_model: Path, tiny_model: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from fine_tuning.engine.worker.online.asking import Question
    from fine_tuning.engine.worker.scoring.rewards.rewarded import rewards_of

    plan = judged_by(tmp_path, tiny_model, reward_model)
    train_here(tmp_path, plan, scored=False)  # it reads what this model is trained to write
    judge = rewards_of({**plan.settings["online"], **plan.train.of_worker["asked"]})
    tokenizer = AutoTokenizer.from_pretrained(reward_model)
    alone = AutoModelForSequenceClassification.from_pretrained(reward_model)
    row = rows_of("chat", 1)[0]
    answers = ["It is 4.", " 你好 " * 9]
    found = judge.total([Question(row, [], [], "").answered(0, it, []) for it in answers])
    for answer, reward in zip(answers, found, strict=True):
        turns = [
            {"role": "user", "content": row["conversations"][0]["value"]},
            {"role": "assistant", "content": answer},
        ]
        inputs = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            assert reward == pytest.approx(float(alone(**inputs).logits[0, 0]), abs=1e-5)


def other_template(tokenizer: Any) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "</s>")


def other_tokens(tokenizer: Any) -> None:
    tokenizer.add_tokens(["brand new"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_template, r"has another template than (.|\n)*: from token \d+ on it reads '</s>"),
        (other_tokens, r"has another tokenizer than (.|\n)*: the token 'brand new' is number"),
    ],
)
def test_a_reward_model_of_another_tokenizer_or_template_is_refused_with_both_named(
    change: Callable[[Any], None], said: str, tiny_model: Path, tmp_path: Path
) -> None:
    other = classifier(tiny_model, tmp_path / "other", change)
    with pytest.raises(UsageError, match=said) as caught:
        train_here(tmp_path, judged_by(tmp_path, tiny_model, other), scored=False)
    assert str(other) in str(caught.value) and str(tiny_model) in str(caught.value)
