"""A tokenizer that drops parts of a text is refused wherever one is loaded."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.errors import ModelError
from tests.models import build_model

pytestmark = pytest.mark.engine


def replay(folder: Path, events: Any) -> None:
    from fine_tuning.engine.worker.proving.replay import replay_folder

    contract = {"model": str(folder), "dtype": "float32", "conversations": []}
    asked = [{"adapter": "", "contract": contract}]
    replay_folder(events=events, asked=asked, base=str(folder), trust_remote_code=False)


def judge(folder: Path, events: Any) -> None:
    from fine_tuning.engine.worker.scoring.rewards.judge import judge_of

    judge_of({"classifier": str(folder)}, None)


def compare(folder: Path, events: Any) -> None:
    from fine_tuning.engine.worker.tokens.texts import tokenizer_facts

    asked: dict[str, Any] = {"texts": ["Hello world"], "chats": [], "trust_remote_code": False}
    tokenizer_facts(events=events, model=str(folder), **asked)


@pytest.fixture(scope="module")
def deaf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model with byte-level tokens whose files name another tokenizer's class."""
    folder = build_model(tmp_path_factory.mktemp("deaf") / "m")
    for file, new in (
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizerFast"}),
        (
            "config.json",
            {"architectures": ["Qwen2ForSequenceClassification"], "id2label": {"0": "reward"}},
        ),
    ):
        known = json.loads((folder / file).read_text(encoding="utf-8"))
        (folder / file).write_text(json.dumps(known | new), encoding="utf-8")
    return folder


@pytest.mark.parametrize("load", [replay, judge, compare])
def test_what_proves_judges_or_compares_does_not_read_half_a_text(
    load: Callable[[Path, Any], None], deaf: Path
) -> None:
    """`prove` and `score` loaded it as Transformers does, and compared and judged what was left."""
    from fine_tuning.engine.worker.events import Events

    with pytest.raises(ModelError, match="drops parts of a text") as caught:
        load(deaf, Events(io.StringIO()))
    assert '"tokenizer_class": "PreTrainedTokenizerFast"' in caught.value.fix
