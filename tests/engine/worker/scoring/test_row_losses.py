"""The losses of rows are those of the tokens that the engine trains."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainings import Heard, planned, rows_of

pytestmark = pytest.mark.engine

TURNS = [
    {"from": "user", "value": "What is 1?"},
    {"from": "assistant", "value": "It is one.", "weight": 0},
    {"from": "user", "value": "And 2, 你好?"},
    {"from": "assistant", "value": "It is two."},
]
DIALOGUE: dict[str, Any] = {"conversations": TURNS, "system": "Be short.", "tools": ""}


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    return model, AutoTokenizer.from_pretrained(tiny_model)


def encoding(tokenizer: Any, kind: str = "answers", served: Any = None, **settings: Any) -> Any:
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams.data_args import DataArguments

    from fine_tuning.engine.worker.scoring.row_losses import Measured, encoding_of

    made = {"template": "qwen3_nothink", "cutoff_len": 256, **settings}
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="qwen3_nothink"))
    return encoding_of(Measured({}, kind, "", served), template, tokenizer, made)


def test_the_labels_are_the_engine_s_own(tmp_path: Path, tiny_model: Path) -> None:
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    plan = planned(tmp_path, tiny_model)
    given = get_train_args(dict(plan.settings))
    known = load_tokenizer(given[0])
    template = get_template_and_fix_tokenizer(known["tokenizer"], given[1])
    engine = get_dataset(template, *given[:3], stage="sft", **known)["train_dataset"]
    rows = rows_of("chat", len(engine))
    ours = [*encoding(known["tokenizer"]).labelled(rows)]
    assert [it[0][0] for it in ours] == [list(it["input_ids"]) for it in engine]
    assert [it[0][1] for it in ours] == [list(it["labels"]) for it in engine]


def test_an_answer_with_the_weight_0_has_no_loss_by_either_encoding(loaded: Any) -> None:
    _, tokenizer = loaded
    served: dict[str, Any] = {"chat_template": None, "stops": [], "stop_ids": [], "thinking": None}
    for way in (encoding(tokenizer), encoding(tokenizer, served=served)):
        (((ids, labels),),) = way.labelled([DIALOGUE])
        trained = tokenizer.decode([label for label in labels if label != -100])
        assert trained.startswith("It is two.") and "one" not in trained
        assert "It is one." in tokenizer.decode(ids)


def test_a_long_text_is_measured_in_blocks(loaded: Any) -> None:
    _, tokenizer = loaded
    (row,) = rows_of("text", 1)
    ids = tokenizer.encode(row["conversations"][0]["value"])
    (blocks,) = encoding(tokenizer, "text", cutoff_len=16).labelled([row])
    assert [token for block, _ in blocks for token in block] == ids
    assert max(len(block) for block, _ in blocks) == 16


def test_every_row_has_its_loss_and_media_have_none(loaded: Any, tmp_path: Path) -> None:
    import torch

    from fine_tuning.engine.worker.scoring.row_losses import Measured, measure

    model, tokenizer = loaded
    rows = [*rows_of("chat", 5), {**DIALOGUE, "images": ["/no.png"]}]
    for part, some in (("train", rows), ("validation", rows[:2])):
        lines = (json.dumps(row) + "\n" for row in some)
        (tmp_path / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    files = {part: str(tmp_path / f"{part}.jsonl") for part in ("train", "validation")}
    measured, way = Measured(files, "answers", str(tmp_path / "out.json")), encoding(tokenizer)
    passes: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda module, given, named: passes.append(len(named["input_ids"])), with_kwargs=True
    )
    for name in ("before", "after"):
        measure(model, tokenizer, way, measured, Heard().events, name)
    hook.remove()
    assert sum(passes) == 2 * 7, "each row passes the model once on each side"
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["before"] == found["after"]
    assert found["before"]["train"][-1] == [0.0, 0]
    assert [it[0] for it in found["before"]["validation"]] == pytest.approx(
        [it[0] for it in found["before"]["train"][:2]]
    )
    for row, (loss, tokens) in zip(rows[:5], found["before"]["train"], strict=False):
        (((ids, labels),),) = way.labelled([row])
        with torch.no_grad():
            mean = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
        assert tokens == sum(label != -100 for label in labels)
        assert loss == pytest.approx(float(mean) * tokens, rel=1e-4)
