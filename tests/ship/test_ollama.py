"""Modelfiles, and what a stand-in for Ollama makes of them (tests/ollama_stand_in.py)."""

import json
from pathlib import Path

import pytest

from fine_tuning.engine.worker.tokens.texts import tokenizer_facts
from fine_tuning.errors import EngineError, EnvironmentProblem
from fine_tuning.ship import ollama
from fine_tuning.ship.conversations import CHATS, chats_with
from tests.commands import ROOT
from tests.llama_cpp import needs_llama_cpp
from tests.ollama import ollama as installed
from tests.trainings import Heard

DEMO = ROOT / "demo_model"
CHATML = (
    "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)


def a_modelfile(file: Path, **given: str) -> Path:
    wanted = {"stops": ["<|im_end|>"], "system": None, "license": "", **given}
    path = file.with_name("Modelfile")
    path.write_text(ollama.modelfile(str(file), DEMO, **wanted), "utf-8")  # type: ignore[arg-type]
    return path


def test_a_modelfile_has_stops_context_and_the_parameters_of_generation(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"text_config": {"max_position_embeddings": 131072}}')
    settings = {"temperature": 0.6, "top_p": 0.95, "repetition_penalty": 1.05, "do_sample": True}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    text = ollama.modelfile(
        "./m.gguf",
        tmp_path,
        stops=["<|im_end|>", "<|endoftext|>"],
        system='Say "yes".\nOr no.',
        license="MIT",
    )
    assert text.splitlines() == [
        "FROM ./m.gguf",
        "PARAMETER num_ctx 32768",
        "PARAMETER repeat_penalty 1.05",
        "PARAMETER temperature 0.6",
        "PARAMETER top_p 0.95",
        'PARAMETER stop "<|im_end|>"',
        'PARAMETER stop "<|endoftext|>"',
        'SYSTEM """Say "yes".',
        'Or no."""',
        'LICENSE "MIT"',
    ]


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("gpu.example:8080", "http://gpu.example:8080"),
        ("https://gpu.example/", "https://gpu.example:11434"),
    ],
)
def test_the_server_is_where_ollama_host_says(
    said: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", said)
    assert ollama.address() == address


@needs_llama_cpp
def test_prompts_of_ollama_are_counted_and_a_template_that_it_puts_in_is_found(
    demo_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = "Answer briefly."
    facts = tokenizer_facts(
        events=Heard().events,
        model=str(DEMO),
        texts=[],
        chats=chats_with(system),
        trust_remote_code=False,
    )
    wanted = [(chat, len(ids)) for chat, ids in zip(CHATS, facts["prompts"], strict=True)]
    with installed(tmp_path / "ollama") as found:
        for name, given in found.items():
            monkeypatch.setenv(name, given)
        assert ollama.version() == "0.33.0" and not ollama.exists("mine")
        file = a_modelfile(demo_gguf, system=system)
        ollama.create("mine", file, tmp_path / "log")
        assert ollama.exists("mine") and ollama.substituted("mine") == []
        ollama.require_same_prompts("mine", wanted)
        # a template that Ollama knows lies near this model's own, but renders otherwise
        near = str(facts["template"]).replace("user", "User")
        known = {"jinja": near, "go": CHATML.replace("<|im_end|>\n", "<|im_end|>\n\n")}
        (tmp_path / "ollama" / "built-in.json").write_text(json.dumps(known), encoding="utf-8")
        ollama.create("mine", file, tmp_path / "log")
        assert ollama.substituted("mine") == ["TEMPLATE"]
        with pytest.raises(EngineError, match="makes other prompts for mine") as refused:
            ollama.require_same_prompts("mine", wanted)
        assert "a TEMPLATE of its own" in refused.value.why
        ollama.remove("mine")
        assert not ollama.exists("mine")
        file.write_text("FROM ./nothing.gguf\n", encoding="utf-8")
        with pytest.raises(EngineError, match="did not make mine") as unmade:
            ollama.create("mine", file, tmp_path / "log")
        assert "nothing.gguf" in unmade.value.why
    with pytest.raises(EnvironmentProblem, match="no server of it answers") as silent:
        ollama.version()
    assert "ollama serve" in silent.value.fix
