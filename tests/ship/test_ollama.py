"""Modelfiles, and what a stand-in for Ollama makes of them (tests/ollama_stand_in.py)."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from fine_tuning.errors import EngineError, EnvironmentProblem
from fine_tuning.ship.conversations import CHATS
from fine_tuning.ship.ollama import go_template, program
from fine_tuning.ship.ollama.modelfile import modelfile
from fine_tuning.values.answers.verdict import Finding, Verdict
from tests.commands import ROOT
from tests.gguf_files import write_gguf
from tests.jinja import by_jinja
from tests.ollama import ollama as installed

DEMO = ROOT / "demo_model"
CHATML = (
    "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)
PLAIN = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe brief.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def a_modelfile(file: Path, template: str | None = None) -> Path:
    path = file.with_name("Modelfile")
    text = modelfile(
        [str(file)], DEMO, stops=["<|im_end|>"], system=None, license="", template=template
    )
    path.write_text(text, "utf-8")
    return path


def test_a_modelfile_has_stops_context_and_the_parameters_of_generation(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"text_config": {"max_position_embeddings": 131072}}')
    settings = {"temperature": 0.6, "top_p": 0.95, "repetition_penalty": 1.05, "do_sample": True}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    text = modelfile(
        ["./m.gguf", "./my projector.gguf"],
        tmp_path,
        stops=["<|im_end|>", "<|endoftext|>"],
        system='Say "yes".\nOr no.',
        license="MIT",
    )
    assert text.splitlines() == [
        "FROM ./m.gguf",
        'FROM "./my projector.gguf"',
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
    assert program.address() == address


def test_a_template_that_ollama_puts_in_is_found_and_one_of_our_own_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Jinja has a system prompt of its own, which the template that Ollama knows has not."""
    source = write_gguf(DEMO, tmp_path / "model.gguf", chat_template=PLAIN)
    render = by_jinja(PLAIN)
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    wanted = [
        (chat, len(tokenizer.encode(render(chat) or "", add_special_tokens=False)))
        for chat in CHATS
    ]
    with installed(tmp_path / "ollama") as found:
        for name, given in found.items():
            monkeypatch.setenv(name, given)
        assert program.version() == "0.33.0" and not program.exists("mine")
        file = a_modelfile(source)
        program.create("mine", file, tmp_path / "log")
        assert program.exists("mine") and program.substituted("mine") == []
        program.require_same_prompts("mine", wanted)
        known = {"jinja": PLAIN.replace("Be brief.", "You are helpful."), "go": CHATML}
        (tmp_path / "ollama" / "built-in.json").write_text(json.dumps(known), encoding="utf-8")
        program.create("mine", file, tmp_path / "log")
        assert program.substituted("mine") == ["TEMPLATE"]
        with pytest.raises(EngineError, match="makes other prompts for mine") as refused:
            program.require_same_prompts("mine", wanted)
        assert "has a TEMPLATE" in refused.value.why
        assert "OLLAMA_GO_TEMPLATE=0" in refused.value.fix
        assert go_template.is_needed(PLAIN)
        own = a_modelfile(source, go_template.written(render))
        program.create("mine", own, tmp_path / "log")
        program.require_same_prompts("mine", wanted)
        program.remove("mine")
        assert not program.exists("mine")
        file.write_text("FROM ./nothing.gguf\n", encoding="utf-8")
        with pytest.raises(EngineError, match="did not make mine") as unmade:
            program.create("mine", file, tmp_path / "log")
        assert "nothing.gguf" in unmade.value.why
    with pytest.raises(EnvironmentProblem, match="no server of it answers") as silent:
        program.version()
    assert "ollama serve" in silent.value.fix


def test_a_model_in_ollama_that_drifts_is_refused_with_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "substituted", lambda name: ["RENDERER"])
    verdict = Verdict(
        target="mine",
        kind="Ollama",
        holds=False,
        format="8 bits",
        allowed=0.1,
        findings=(Finding(cause="template", text="3 prompts differ", fix="-"),),
        conversations=(),
    )
    with pytest.raises(EngineError, match=r"mine in Ollama does not answer .* \(template\)") as it:
        program.require_proved("mine", verdict)
    assert "3 prompts differ; its model there has a RENDERER" in it.value.why
    assert "OLLAMA_GO_TEMPLATE=0" in it.value.fix
