"""Rows with pictures are asked as they are trained."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tests.engine.worker.tokens.looking import picture, seen

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def model(vision_model: Path) -> Iterator[Any]:
    import torch
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams.data_args import DataArguments
    from llamafactory.hparams.model_args import ModelArguments
    from llamafactory.model.loader import load_tokenizer
    from transformers import AutoModelForImageTextToText

    from fine_tuning.engine.worker.scoring.inputs.prompts import prompts_of
    from fine_tuning.engine.worker.scoring.inputs.with_media import MediaModel

    loaded = load_tokenizer(ModelArguments(model_name_or_path=str(vision_model)))
    tokenizer = loaded["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="qwen2_vl"))
    network = AutoModelForImageTextToText.from_pretrained(vision_model).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # else all answers are alike
            parameter.mul_(3)
        prompts = prompts_of(template, tokenizer, None)
        yield MediaModel(network, tokenizer, template, loaded["processor"], prompts)


@pytest.mark.parametrize("size", [(56, 56), (280, 140)])
def test_each_answered_token_is_the_likeliest_also_all_at_once(
    model: Any, tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Generation and loss place the tokens after a picture alike."""
    row = seen(picture(tmp_path / "a.png", *size))
    prompt, _ = model.prompt_and_answer(row)
    generate, found = model.model.generate, []

    def noted(**named: Any) -> Any:
        found.append(generate(**named))
        return found[0]

    monkeypatch.setattr(model.model, "generate", noted)
    config = model.model.config
    places = [config.image_token_id, config.video_token_id]  # an answer holds none
    model.answer(row, prompt, max_new_tokens=12, do_sample=False, suppress_tokens=places)
    ids = found[0][0].tolist()
    assert ids[: len(prompt)] == prompt
    logits = model.logits(row, ids)[0]
    logits[:, places] = float("-inf")
    likeliest = logits.argmax(-1).tolist()
    assert likeliest[len(prompt) - 1 : -1] == ids[len(prompt) :]


def test_the_answer_depends_on_the_picture(model: Any, tmp_path: Path) -> None:
    rows = []
    for colour in ("red", "blue"):
        Image.new("RGB", (84, 84), colour).save(tmp_path / f"{colour}.png")
        rows.append(seen(str(tmp_path / f"{colour}.png")))
    pairs = [model.prompt_and_answer(row) for row in rows]
    assert pairs[0] == pairs[1]
    first, second = (model.logits(row, pairs[0][0]) for row in rows)
    assert (first[0, -1] - second[0, -1]).abs().max() > 1e-3


def test_what_scoring_costs_is_said_before_the_first_row_with_a_picture(
    model: Any, tmp_path: Path
) -> None:
    from fine_tuning.engine.worker.scoring.foretold import foretell_media
    from fine_tuning.engine.worker.scoring.generate import Limit
    from fine_tuning.engine.worker.scoring.score import Scoring, score_model

    row = seen(picture(tmp_path / "a.png", 56, 56))
    ticks = iter([0, 1, 0, 10, 0, 40])  # three more tokens took 30 s more
    wanted = Limit().tokens([model.prompt_and_answer(row)])
    found = foretell_media(model, [row] * 5, Limit(), lambda: float(next(ticks)))
    assert found == 5 * (2 * 10 + wanted * 10)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    said: list[str] = []
    events: Any = SimpleNamespace(note=said.append, progress=lambda *_, **__: None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fine_tuning.engine.worker.scoring.foretold.LONG_S", 0)
        score_model(model, Scoring(str(path), 1, "answers"), events, "score_before")
    assert said[0].startswith("Scoring 1 row may take 0:0")


def test_a_model_that_cannot_be_asked_is_named(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fine_tuning.engine.worker.scoring.asking import NotScored
    from fine_tuning.engine.worker.scoring.score import Scoring, score_model

    path = tmp_path / "rows.jsonl"
    row = seen(picture(tmp_path / "a.png", 56, 56))
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    monkeypatch.setattr(model, "processor", None)
    events: Any = SimpleNamespace(note=print)  # no progress is told before
    with pytest.raises(NotScored, match=r"\w+: ."):
        score_model(model, Scoring(str(path), 1, "chat"), events, "score_before")
