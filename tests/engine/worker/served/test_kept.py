"""What the look at the tokens has made of rows is not made again, and is the same."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine.worker.served.families import FAMILIES, SHAPES, SPECIAL, row
from tests.engine.worker.tokens.looking import look
from tests.models import build_model, train_tokenizer
from tests.trainings import rows_of

pytestmark = pytest.mark.engine


def encoder_for(kind: str = "chat", **wishes: Any) -> Any:
    from fine_tuning.engine.worker.served.encoder import encoder_of

    tokenizer = train_tokenizer(SPECIAL, "<|im_end|>")
    tokenizer.chat_template = FAMILIES["qwen3"].template  # two sequences of some rows
    return encoder_of(tokenizer, kind, **wishes)


def looked_at(folder: Path, encoder: Any, rows: list[dict[str, Any]], processes: int = 1) -> Any:
    """The rows' sequences, kept."""
    from fine_tuning.engine.worker.served.kept import Keeping
    from fine_tuning.engine.worker.served.survey import survey

    return survey(encoder, iter(rows), None, None, processes, Keeping(folder, encoder))


@pytest.mark.parametrize("kind", ["chat", "preference", "kto"])
def test_rows_that_were_looked_at_are_not_encoded_again(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import load_from_disk
    from llamafactory.hparams.data_args import DataArguments

    from fine_tuning.engine.worker.events import Events
    from fine_tuning.engine.worker.served import survey
    from fine_tuning.engine.worker.served.encoder import Encoder
    from fine_tuning.engine.worker.served.write import write_encoded

    rows = [*rows_of(kind, 9), *([*SHAPES.values()] if kind == "chat" else [])]  # type: ignore[arg-type]
    encoder, path = encoder_for(kind), tmp_path / "rows.jsonl"
    monkeypatch.setattr(survey, "BATCH", 4)
    looked_at(tmp_path / "kept", encoder, rows, processes=2)
    rows[5] = {**rows[5], "system": "Cut."}  # by the split, say
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[2:]), encoding="utf-8")
    anew: list[Any] = []
    encode = Encoder.encode

    def watched(self: Encoder, rows: Any, *others: Any) -> Any:
        rows = list(rows)
        anew.extend(rows)
        return encode(self, rows, *others)

    monkeypatch.setattr(Encoder, "encode", watched)
    made = []
    for kept in (None, tmp_path / "kept"):
        anew.clear()
        out, events = tmp_path / f"encoded-{kept is None}", Events(io.StringIO())
        write_encoded(encoder_for(kind), {"train": path}, DataArguments(), out, events, kept)
        made.append(
            (load_from_disk(str(out))["train"].to_dict(), (out / "train.rows").read_bytes())
        )
    assert anew == [rows[5]]
    assert made[0] == made[1]


def test_the_look_keeps_what_the_encoding_takes(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from fine_tuning.engine.worker.served.kept import Kept
    from fine_tuning.engine.worker.served.write import served_encoder

    chatml, qwen = build_model(tmp_path / "chatml"), build_model(tmp_path / "qwen")
    encoder_for().tokenizer.save_pretrained(qwen)
    rows = [SHAPES["reasoning"], SHAPES["turns"]]
    found = look(tmp_path, qwen, rows, kept=str(tmp_path / "kept"))
    assert found.template.ahead is not None
    later = served_encoder(AutoTokenizer.from_pretrained(qwen), found.template.ahead, "chat")
    assert len(Kept(tmp_path / "kept", later)) == 2
    assert look(tmp_path, chatml, rows, kept=str(tmp_path / "none")).template.ahead is None
    assert not (tmp_path / "none").exists()  # the engine encodes


def test_what_another_encoder_made_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fine_tuning.engine.worker.served.kept import Kept

    rows = [row(("user", "a"), ("assistant", "b"))]
    looked_at(tmp_path, encoder_for(), rows)
    assert len(Kept(tmp_path, encoder_for())) == 1
    for wishes in ({"thinking": True}, {"default_system": "S"}, {"last_only": True}):
        assert len(Kept(tmp_path, encoder_for(**wishes))) == 0, wishes
    assert len(Kept(tmp_path, encoder_for("kto"))) == 0
    other = encoder_for()
    other.tokenizer.add_tokens(["<more>"])
    assert len(Kept(tmp_path, other)) == 0
    monkeypatch.setattr("time.strftime", lambda form: "tomorrow")
    assert len(Kept(tmp_path, encoder_for())) == 0


def test_what_would_take_much_of_the_disk_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fine_tuning.engine.worker.served import kept

    rows = tmp_path / "rows.jsonl"
    rows.write_text("x" * 1000)
    encoder = encoder_for()
    assert kept.keeping(tmp_path / "kept", encoder, [rows]) is not None
    assert kept.keeping(None, encoder, [rows]) is None
    monkeypatch.setattr(kept, "MOST", 999)
    assert kept.keeping(tmp_path / "kept", encoder, [rows]) is None
