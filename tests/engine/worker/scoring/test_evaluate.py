"""Several models are scored on the same rows, an adapter and its base from one loading."""

import json
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.errors import DataError
from fine_tuning.measures.compare import compared
from fine_tuning.values.answers.scores import Scored
from fine_tuning.values.codec import from_json
from tests.models import CHATML
from tests.trainings import Heard, rows_of

pytestmark = pytest.mark.engine
REFUSING = "{% if 'never' in messages[0]['content'] %}{{ raise_exception('no') }}{% endif %}"
SERVED: dict[str, Any] = {
    "chat_template": REFUSING + CHATML,
    "stops": [],
    "stop_ids": [],
    "thinking": None,
}


def spoken(model: Path, adapter: Path | str = "") -> dict[str, Any]:
    settings = {"model_name_or_path": str(model), "template": "empty"}
    return {"settings": settings, "adapter": str(adapter), "beside": [], "served": SERVED}


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("eval") / "adapter"
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(folder)
    return folder


def evaluated(
    folder: Path, rows: list[dict[str, Any]], *models: dict[str, Any], most_new: int | None = 6
) -> dict[str, Any]:
    from fine_tuning.engine.worker.scoring.evaluate import evaluate

    path, out = folder / "rows.jsonl", folder / "out.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    asked = {"name": "rows", "rows_path": str(path), "samples": None, "kind": "answers"}
    sets = [{**asked, "unit": "rows", "most_new": most_new}]
    named = [{"said": model["name"], **model} for model in models]
    evaluate(events=Heard().events, models=named, sets=sets, out=str(out))
    return dict(json.loads(out.read_text(encoding="utf-8"))["rows"])


def test_both_sides_are_scored_on_the_same_rows_in_the_same_order(
    tiny_model: Path, adapter: Path, tmp_path: Path
) -> None:
    rows = rows_of("chat", 6)
    rows[3]["conversations"][0]["value"] *= 7  # batches are by length
    tuned = spoken(tiny_model, adapter)
    before = {"name": "before", "model": {**tuned, "adapter": "", "beside": [str(adapter)]}}
    after = {"name": "after", "model": tuned}
    found = evaluated(tmp_path, rows, before, after)
    asked = [row["conversations"][0]["value"] for row in rows]
    for side in ("before", "after"):
        assert [it["question"] for it in found[side]["samples"]] == asked
    assert found["rows"] == [*range(6)]
    assert found["before"]["losses"] != found["after"]["losses"]
    alone = evaluated(tmp_path, rows, {**after, "model": spoken(tiny_model)})
    assert alone["after"] == found["before"], "with the adapter off it is the base model"


def test_rows_that_cannot_be_asked_are_left_out_with_the_reason(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = [*rows_of("chat", 4), *rows_of("preference", 1), *rows_of("kto", 2)]
    rows[1]["conversations"][0]["value"] = "never ask this"
    rows[2]["conversations"][0]["value"] *= 200
    model = {"name": "after", "model": spoken(tiny_model)}
    found = evaluated(tmp_path, rows, model)
    assert found["rows"] == [0, 3, 4, 5]
    assert found["after"]["samples"][2]["expected"] == rows[4]["chosen"]["value"]
    assert "no" in found["left_out"]["1"]
    assert "tokens, and the model reads 512" in found["left_out"]["2"]
    assert "marked as a bad answer" in found["left_out"]["6"]
    with pytest.raises(DataError, match=r"No row of .* can be scored: it is marked as a bad"):
        evaluated(tmp_path, rows[-1:], model)


def test_prompts_alone_are_answered_and_not_called_wrong(tiny_model: Path, tmp_path: Path) -> None:
    """Exact match was 0%, and the loss that of an end after nothing."""
    rows = rows_of("chat", 4)
    for row in rows[:3]:
        row["conversations"][-1]["value"] = ""
    model = {"name": "after", "model": spoken(tiny_model)}
    mixed = evaluated(tmp_path, rows, model, most_new=40)["after"]
    assert [count > 0 for _, count in mixed["losses"]] == [False, False, False, True]
    assert [it["expected"] for it in mixed["samples"]] == [
        "",
        "",
        "",
        rows[3]["conversations"][-1]["value"],
    ]
    assert max(it["tokens"] for it in mixed["samples"]) == 40, "as many as were asked for"
    alone = evaluated(tmp_path, rows[:3], model, most_new=None)["after"]
    assert [it["answer"][:20] for it in alone["samples"]] == [
        it["answer"][:20] for it in mixed["samples"][:3]
    ]
    assert max(it["tokens"] for it in alone["samples"]) > 40, "not by answers that nobody expects"
    for found, metrics in ((mixed, {"loss", "perplexity"}), (alone, set[str]())):
        scored = from_json(found, Scored, named="scores")
        names = {it.metric for it in compared(Scored(), scored)}
        assert names == {*metrics, "stops", "length"}
