"""Images are counted as the trainer gets them, and what cannot be read is named."""

import json
from pathlib import Path

import pytest

from fine_tuning.errors import ModelError
from tests.engine.worker.served.families import row
from tests.engine.worker.tokens.looking import look, picture, seen

pytestmark = pytest.mark.engine


def test_a_picture_counts_as_many_tokens_as_its_size_has(
    vision_model: Path, tmp_path: Path
) -> None:
    """One token for each 28 x 28 pixels; the view comes from LLaMA-Factory's own processor."""
    rows = [
        seen(picture(tmp_path / "a.png", 56, 56)),
        seen(picture(tmp_path / "b.png", 280, 140)),
        {**row(("user", "What is it?"), ("assistant", "Red.")), "images": []},
    ]
    found = look(tmp_path, vision_model, rows, media=["images"], show=["3"])
    small, large, text = (view.tokens for view in found.views)
    assert (small - text, large - text) == (2 + 4, 2 + 50)  # start, end, and the picture
    assert found.template.name == "qwen2_vl"
    assert found.longest == large
    spans = found.views[1].spans
    assert "<|image_pad|>(x 50)" in spans[0][0]
    assert [text for text, trained in spans if trained] == ["Red.<|im_end|>\n"]


def test_the_size_of_pictures_can_be_bounded(vision_model: Path, tmp_path: Path) -> None:
    rows = [seen(picture(tmp_path / "a.png", 280, 280))]
    whole = look(tmp_path, vision_model, rows, media=["images"])
    bound = {"image_max_pixels": 56 * 56}
    less = look(tmp_path, vision_model, rows, media=["images"], model_args=bound)
    assert whole.tokens - less.tokens == 100 - 4


@pytest.mark.parametrize("kind", ["preference", "kto"])
def test_pictures_of_compared_answers_are_counted(
    vision_model: Path, tmp_path: Path, kind: str
) -> None:
    one = seen(picture(tmp_path / "a.png", 56, 56))
    if kind == "preference":
        *prompt, answer = one["conversations"]
        one |= {"conversations": prompt, "chosen": answer}
        one |= {"rejected": {"from": "assistant", "value": "R"}}
    else:
        one |= {"label": True}
    found = look(tmp_path, vision_model, [one], kind=kind, media=["images"], show=["1"])
    assert found.views[0].tokens == found.longest


def test_what_cannot_be_read_is_named_by_its_row(vision_model: Path, tmp_path: Path) -> None:
    good = picture(tmp_path / "a.png", 56, 56)
    cut = tmp_path / "cut.png"
    cut.write_bytes(Path(good).read_bytes()[:60])
    mark_alone = {**row(("user", "<image>What?"), ("assistant", "Red.")), "images": []}
    rows = [seen(good), seen(str(cut)), mark_alone]
    found = look(tmp_path, vision_model, rows, media=["images"], show=["3"])
    assert sorted(found.unreadable) == [1, 2]
    assert found.unreadable[1].startswith(f"{cut}: ")
    assert found.unreadable[2].startswith("<image> stands in the text, and the row names no file")
    assert [view.row for view in found.views] == [0]


def test_a_model_of_text_takes_no_pictures(tiny_model: Path, tmp_path: Path) -> None:
    rows = [seen(picture(tmp_path / "a.png", 56, 56))]
    with pytest.raises(ModelError, match=r"rows hold images, and .* takes none"):
        look(tmp_path, tiny_model, rows, media=["images"])


def test_a_vision_model_trains_text_alone(vision_model: Path, tmp_path: Path) -> None:
    rows = [row(("user", "Hello"), ("assistant", "Hi"))]
    found = look(tmp_path, vision_model, rows, show=["1"])
    assert found.views[0].stop_trained


def test_a_vision_model_without_its_processor_is_refused(
    vision_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for file in vision_model.iterdir():
        if file.name not in ("processor_config.json", "preprocessor_config.json"):
            (model / file.name).symlink_to(file)
    rows = [row(("user", "Hello"), ("assistant", "Hi"))]
    with pytest.raises(ModelError, match="processor could not be loaded"):
        look(tmp_path, model, rows, template="qwen2_vl")
    assert json.loads((model / "config.json").read_text())["model_type"] == "qwen2_vl"
