"""Several processes find and encode the same as one, and are as many as a machine can use."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engine.worker.served.families import FAMILIES, SPECIAL, row
from tests.models import train_tokenizer

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def encoder() -> Any:
    from fine_tuning.engine.worker.served.encoder import encoder_of

    tokenizer = train_tokenizer(SPECIAL, "<end_of_turn>")
    tokenizer.chat_template = FAMILIES["gemma"].template
    tokenizer.bos_token = "<bos>"
    found = encoder_of(tokenizer, "chat")
    assert found is not None
    return found


def test_several_processes_find_the_same(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from llamafactory.data.template import TEMPLATES

    from fine_tuning.engine.worker.served import survey
    from fine_tuning.engine.worker.served.agreement import engine_rows

    rows = [
        row(("user", f"Question {number}"), ("assistant", "yes " * number)) for number in range(30)
    ]
    rows[17] = row(("assistant", "Who asked?"))  # refused
    rows[21] = row(("user", "a"), ("assistant", "b"), system="Be brief.", tools="")
    engine = engine_rows(
        TEMPLATES["gemma"], encoder.tokenizer, None, encoder.pieces, "chat", {}, None
    )
    alone = survey.survey(encoder, iter(rows), 30, engine)
    assert alone.refused.keys() == {17} and alone.overlong and alone.ends
    monkeypatch.setattr(survey, "BATCH", 4)
    assert survey.survey(encoder, iter(rows), 30, engine, 3) == alone


def test_more_processes_share_the_rows(encoder: Any) -> None:
    from fine_tuning.engine.worker.served.spread import spread

    def work(batch: list[Mapping[str, Any]]) -> tuple[int, int]:
        time.sleep(0.05)
        return batch[0]["number"], os.getpid()

    row_ = row(("user", "a"), ("assistant", "b"))
    made = [*spread(encoder, work, ([{**row_, "number": place}] for place in range(24)), 6)]
    assert [number for number, _ in made] == [*range(24)]
    assert len({process for _, process in made}) == 6
    assert os.getpid() not in {process for _, process in made}


def test_a_machine_with_many_cores_encodes_large_files_by_many_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fine_tuning.engine.worker.served.spread import processes_for

    few, many = tmp_path / "few.jsonl", tmp_path / "many.jsonl"
    few.write_text("{}\n" * 6000)
    many.write_text("{}\n" * 30_000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert (processes_for(few), processes_for(many), processes_for(many, many)) == (1, 6, 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(2))
    assert processes_for(many) == 2
    monkeypatch.setattr("sys.platform", "darwin")
    assert processes_for(many) == 1
