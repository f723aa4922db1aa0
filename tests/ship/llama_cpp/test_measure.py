"""What llama.cpp's library finds of GGUF files: losses, answers, divergences, speeds."""

import io
from pathlib import Path

import numpy as np
import pytest

from fine_tuning.errors import EngineError
from fine_tuning.ship import gguf
from fine_tuning.ship.ladder import measured
from fine_tuning.ship.llama_cpp.measure import KEPT_TOKEN, diverged, keep, kept_of, log_softmax
from fine_tuning.ship.llama_cpp.place import find
from tests.commands import ROOT
from tests.llama_cpp import needs_llama_cpp

DEMO = ROOT / "demo_model"
QUESTIONS = {
    "What is the capital of France?": "The capital of France is Paris.",
    "用一句话介绍长江。": "长江是中国最长的河流。",
    "Name a colour.": "Blue.",
}


@needs_llama_cpp
def test_losses_are_transformers_and_a_smaller_file_diverges(
    demo_gguf: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    model = AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32)
    pairs, losses, answers = [], [], []
    for question, expected in QUESTIONS.items():
        asked = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
        answer = [*tokenizer.encode(expected, add_special_tokens=False), tokenizer.eos_token_id]
        pairs.append((tuple(prompt), tuple(answer)))
        ids = torch.tensor([prompt + answer])
        labels = torch.tensor([[-100] * len(prompt) + answer])
        with torch.no_grad():
            losses.append(float(model(input_ids=ids, labels=labels).loss) * len(answer))
            said = model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)
        answers.append(tokenizer.decode(said[0, len(prompt) :], skip_special_tokens=True).strip())
    small = tmp_path / "q4.gguf"
    gguf.quantize(find(None, quantizer=True), demo_gguf, small, "q4_k_m", tmp_path / "log")
    told: list[tuple[str, int, int]] = []
    whole, quantised = measured(
        [demo_gguf, small],
        pairs,
        stop_ids=[tokenizer.eos_token_id],
        asks=True,
        most_new=24,
        log=tmp_path / "log",
        told=lambda *event: told.append(event),
    )
    assert [row.loss for row in whole.rows] == pytest.approx(losses, abs=0.02)
    assert [row.answer for row in whole.rows] == answers
    assert [row.expected for row in whole.rows] == list(QUESTIONS.values())
    assert [row.tokens for row in whole.rows] == [len(answer) for _, answer in pairs]
    assert not any(row.divergence for row in whole.rows)
    tokens = sum(row.tokens for row in quantised.rows)
    assert 1e-5 < sum(row.divergence for row in quantised.rows) / tokens < 0.5
    assert whole.stored["f32"] == 1.0 and "q5_0" in quantised.stored
    assert len(whole.answer_speeds) == 3 and min(whole.prompt_speeds) > 0
    assert told[0] == (demo_gguf.name, 0, 6) and told[-1] == ("speed", 5, 6)


def test_a_divergence_from_the_likeliest_tokens_is_that_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(0)
    first, other = (log_softmax(draw.normal(0, 3, 500).astype(np.float32)) for _ in range(2))
    exact = float((np.exp(first) * (first - other)).sum())

    def by_kept(count: int) -> float:
        monkeypatch.setattr("fine_tuning.ship.llama_cpp.measure.KEPT", count)
        file = io.BytesIO()
        keep(first, file)
        file.seek(0)
        kept = kept_of(file, 500)
        assert len(kept) == min(count, 500) and kept.dtype == KEPT_TOKEN
        assert kept["id"][0] == first.argmax()
        return diverged(kept, other)

    assert by_kept(4096) == pytest.approx(exact, rel=1e-5)
    assert by_kept(300) == pytest.approx(exact, rel=0.02)
    assert 0 < by_kept(20) < exact


@needs_llama_cpp
def test_a_file_that_llama_cpp_does_not_load_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(EngineError, match="did not measure") as refused:
        measured(
            [broken],
            [((1, 2), (3,))],
            stop_ids=[],
            asks=False,
            most_new=8,
            log=tmp_path / "log",
            told=lambda *event: None,
        )
    assert "does not read" in refused.value.why and "broken.gguf" in refused.value.why
