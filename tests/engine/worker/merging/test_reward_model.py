"""A reward model leaves as a classifier that everybody loads, and gives the rewards it was trained
to give."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.errors import EngineError, ModelError
from tests.models import as_published, build_model, train_tokenizer
from tests.trainings import Heard, planned, train_here
from tests.transformers_4 import asked_of_4, needs_transformers_4

pytestmark = pytest.mark.engine

# What a classifier has beside the base model's configuration, or instead of it.
CLASSIFIER_S = {
    "architectures",
    "id2label",
    "label2id",
    "sentence_transformers",
    "use_cache",
    "value_head_bias",
}
ASK = """
import json, sys
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], torch_dtype=torch.float32)
print(json.dumps(model(torch.tensor(json.loads(sys.argv[2]))).logits.tolist()))
"""


@dataclass(frozen=True)
class Exported:
    """A trained reward model, what it was exported to, and what the export found."""

    settings: dict[str, Any]
    rows: Path
    out: Path
    found: dict[str, Any]


def exported(folder: Path, method: str, *, biases: bool, dtype: str) -> Exported:
    from fine_tuning.engine.loading import after_training, export_settings
    from fine_tuning.engine.worker.merging.merge import merge
    from fine_tuning.values.spec import RunSpec

    base = as_published(build_model(folder / "base", biases=biases, dtype=dtype))
    more = {"freeze_trainable_layers": 1} if method == "freeze" else {}
    plan = planned(folder, base, "rm", method, engine_args=more)
    train_here(folder, plan, scored=False)
    tuned, rows = after_training(plan.settings, folder / "run"), folder / "dataset/validation.jsonl"
    settings = export_settings(tuned, RunSpec())
    found = merge(
        events=Heard().events,
        settings=settings,
        base=str(base),
        partial_dir=str(folder / "out"),
        probe_rows=str(rows),
        chat_template=None,
    )
    return Exported(settings, rows, folder / "out", found)


@pytest.fixture(
    scope="module",
    params=[
        ("lora", False, "float32"),
        ("full", True, "bfloat16"),
        pytest.param(("freeze", False, "bfloat16"), marks=pytest.mark.slow),
        pytest.param(("lora", True, "bfloat16"), marks=pytest.mark.slow),
        pytest.param(("full", False, "float32"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    method, biases, dtype = request.param
    return exported(tmp_path_factory.mktemp("rm"), method, biases=biases, dtype=dtype)


def test_trl_s_way_of_asking_gives_the_trained_rewards_less_one_constant(made: Exported) -> None:
    """`Some weights were not initialized: score.weight`, and a reward at the wrong token."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from fine_tuning.engine.worker.rows import first_rows
    from fine_tuning.engine.worker.scoring.rewards.judge import judge_rows

    rows = first_rows(made.rows, 4)
    trained = judge_rows(events=Heard().events, settings=made.settings, rows_path=str(made.rows))
    model = AutoModelForSequenceClassification.from_pretrained(made.out, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(made.out)
    proof = made.found["rewards"]
    slack = proof["apart"] + 1e-5
    assert proof["same_ids"] and 0 < slack < 0.02 * proof["spread"]
    for side, end in enumerate(("chosen", "rejected")):
        texts = [tokenizer.apply_chat_template(messages(row, end), tokenize=False) for row in rows]
        batch = tokenizer(
            texts, padding=True, padding_side="right", add_special_tokens=False, return_tensors="pt"
        )
        with torch.no_grad():
            rewards = model(**batch).logits[:, 0].tolist()
        wanted = [pair[side] - proof["constant"] for pair in trained["rewards"]]
        assert rewards == pytest.approx(wanted, abs=slack)


def test_the_configuration_is_the_base_s_in_its_own_words(made: Exported) -> None:
    """Transformers 5 wrote `rope_parameters` and more; 4 then takes defaults, in silence."""
    base = made.out.parent / "base"
    found, wanted = (
        json.loads((place / "config.json").read_text(encoding="utf-8"))
        for place in (made.out, base)
    )
    changed = {name for name in {**found, **wanted} if found.get(name) != wanted.get(name)}
    assert changed - {"pad_token_id"} == CLASSIFIER_S
    assert found["architectures"][0].endswith("ForSequenceClassification")


@pytest.mark.slow
@needs_transformers_4
def test_transformers_4_gives_the_same_rewards(made: Exported) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    ids = [[5, 6, 7, 8, 9, 10, 11, 12]]
    there = asked_of_4(ASK, str(made.out), json.dumps(ids))
    model = AutoModelForSequenceClassification.from_pretrained(made.out, dtype=torch.float32)
    with torch.no_grad():
        here = model(torch.tensor(ids)).logits
    assert torch.allclose(torch.tensor(there), here, atol=1e-5)


def messages(row: dict[str, Any], end: str) -> list[dict[str, str]]:
    turns: Sequence[dict[str, str]] = [*row["conversations"], row[end]]
    return [{"role": turn["from"], "content": turn["value"]} for turn in turns]


def test_another_head_than_the_trained_one_is_refused(made: Exported, tmp_path: Path) -> None:
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    from fine_tuning.engine.worker.merging.reward_model import prove_rewards
    from fine_tuning.engine.worker.rows import first_rows

    shutil.copytree(made.out, tmp_path / "other")
    file = tmp_path / "other" / "model.safetensors"
    weights = load_file(file)
    weights["score.weight"][0, 3] += 0.5
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(EngineError, match="gives other rewards than the trained value head"):
        prove_rewards(
            made.settings,
            None,
            tmp_path / "other",
            first_rows(made.rows, 4),
            made.found["rewards"]["constant"],
            dtype=getattr(torch, made.found["dtype"]),
            events=Heard().events,
        )


def test_padding_is_a_token_at_which_no_conversation_ends() -> None:
    """A pad token that is the end of text, and the classifier reads the token before it."""
    from fine_tuning.engine.worker.merging.reward_model import padding_of

    tokenizer = train_tokenizer(["<|endoftext|>", "<s>", "</s>"], "</s>")
    number = tokenizer.convert_tokens_to_ids
    assert padding_of(tokenizer, [number("</s>")]) == number("<|endoftext|>")
    tokenizer.pad_token = "</s>"
    assert padding_of(tokenizer, [number("</s>"), number("\n")]) == number("<s>")
    alone = train_tokenizer(["<|endoftext|>"], "<|endoftext|>")
    with pytest.raises(ModelError, match="No token of this model's tokenizer can pad"):
        padding_of(alone, [])


def test_a_model_that_is_no_reward_model_is_named(tiny_model: Path) -> None:
    from fine_tuning.engine.worker.scoring.rewards.judge import judge_of

    with pytest.raises(ModelError, match="is no reward model: it is a LlamaForCausalLM with 2"):
        judge_of({"classifier": str(tiny_model)})
