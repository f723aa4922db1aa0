"""What servers answer over HTTP is what was trained, or it is said why not."""

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fine_tuning.cli.screens.screen import PlainScreen
from fine_tuning.engine.process.launch import free_port
from fine_tuning.errors import EngineError, EnvironmentProblem, UsageError
from fine_tuning.ship.ollama import program
from fine_tuning.ship.proving.causes import judge
from fine_tuning.stages.shipping.llama_cpp.ollama import Ollama
from fine_tuning.values.answers.verdict import Verdict
from fine_tuning.values.spec import RunSpec
from tests.contracts import (
    HERE,
    QUIET,
    Trained,
    as_json,
    build_trained,
    json_of,
    of_another_base,
    rounded_without_a_word,
)
from tests.gguf_files import write_adapter_gguf, write_gguf
from tests.llama_cpp import needs_llama_cpp
from tests.ollama import ollama as installed

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return build_trained(tmp_path_factory.mktemp("trained"))


def by_llama_cpp(trained: Trained, folder: Path, model: Path, **how: Any) -> Verdict:
    """The verdict over llama.cpp's own server, with this model as a GGUF file."""
    file = write_gguf(model, folder / "model.gguf", **how)
    return judge(trained.contract, trained.asking(folder).of_gguf(file))


@pytest.mark.parametrize("quantized", [False, True])
def test_llama_cpp_answers_as_was_trained(
    trained: Trained, tmp_path: Path, quantized: bool
) -> None:
    verdict = by_llama_cpp(trained, tmp_path, trained.merged, quantized=quantized)
    assert verdict.holds, verdict.findings
    assert (verdict.kind, verdict.format) == ("llama.cpp", "8 bits" if quantized else "float32")
    assert {one.prompt for one in verdict.conversations} == {"equal"}
    assert {one.answer for one in verdict.conversations} <= {"equal", "close"}
    assert all(one.places and one.drift for one in verdict.conversations)


@pytest.mark.parametrize(
    ("cause", "model", "how"),
    [
        ("template", "merged", {"chat_template": "{{ messages[-1].content }}\nAnswer:"}),
        ("bos", "merged", {"add_bos": True}),
        ("stop token", "merged", {"eos": 3, "end": "<|fin|>"}),
        ("stop token", "merged", {"eos": 2303}),
        ("adapter not loaded", "base", {}),
    ],
)
def test_a_gguf_file_that_answers_otherwise_is_caught_with_its_cause(
    trained: Trained, tmp_path: Path, cause: str, model: str, how: dict[str, Any]
) -> None:
    verdict = by_llama_cpp(trained, tmp_path, getattr(trained, model), **how)
    assert [finding.cause for finding in verdict.findings] == [cause], verdict.findings


def test_an_adapter_as_a_gguf_file_answers_as_was_trained_upon_its_base(
    trained: Trained, tmp_path: Path
) -> None:
    base = write_gguf(trained.base, tmp_path / "base.gguf")
    adapter = write_adapter_gguf(trained.adapter, trained.base, tmp_path / "adapter.gguf")
    asking = trained.asking(tmp_path)
    verdict = judge(trained.contract, asking.of_gguf(base, adapter))
    assert verdict.holds, verdict.findings
    assert verdict.target == f"{base} + {adapter}"
    with pytest.raises(UsageError, match=r"adapter\.gguf holds a LoRA adapter"):
        asking.of_gguf(adapter)
    with pytest.raises(UsageError, match=r"base\.gguf holds a whole model, and no adapter"):
        asking.of_gguf(base, base)


def test_a_broken_gguf_file_is_named(trained: Trained, tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(EngineError, match=r"llama\.cpp does not load .*broken\.gguf"):
        trained.asking(tmp_path).of_gguf(file)
    file.write_bytes(b"safetensors")
    with pytest.raises(UsageError, match="is no GGUF file"):
        trained.asking(tmp_path).of_gguf(file)


def test_a_server_that_does_not_run_is_named(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="does not answer"):
        trained.asking(tmp_path).of_server(f"http://127.0.0.1:{free_port()}", "")


@contextmanager
def llamafactory_api(model: Path, template: str) -> Iterator[str]:
    """The address of LLaMA-Factory's own API server, as `llamafactory-cli api` starts it."""
    import uvicorn
    from llamafactory.api.app import create_app
    from llamafactory.chat import ChatModel

    chat = ChatModel({"model_name_or_path": str(model), "template": template})
    port = free_port()
    config = uvicorn.Config(create_app(chat), host="127.0.0.1", port=port, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join()


def test_llamafactorys_api_answers_as_was_trained(trained: Trained, tmp_path: Path) -> None:
    """But where a call stands in the history: it writes the arguments of that as a text inside
    JSON (llamafactory/api/chat.py), which no row was trained as."""
    with llamafactory_api(trained.merged, "qwen3_nothink") as url:
        verdict = judge(trained.contract, trained.asking(tmp_path).of_server(url, ""))
    assert [finding.cause for finding in verdict.findings] == ["template"], verdict.findings
    assert verdict.kind == "OpenAI-compatible"
    differing = [one.name for one in verdict.conversations if one.prompt != "equal"]
    assert differing == ["a function's result"]
    others = [one for one in verdict.conversations if one.name not in differing]
    assert {one.answer for one in others} <= {"equal", "close"}
    assert any("no log-probabilities" in note for note in verdict.notes)


def test_llamafactorys_api_with_another_template_is_caught(
    trained: Trained, tmp_path: Path
) -> None:
    with llamafactory_api(trained.merged, "alpaca") as url:
        verdict = judge(trained.contract, trained.asking(tmp_path).of_server(url, ""))
    assert {one.prompt for one in verdict.conversations} == {"differs"}
    assert [finding.cause for finding in verdict.findings] == ["template"]


@contextmanager
def ollama(folder: Path, **models: list[tuple[str, str]]) -> Iterator[str]:
    """The address of the stand-in for Ollama with these models: the lines of their Modelfiles."""
    from http.server import ThreadingHTTPServer

    from tests.ollama_stand_in import Api, kept_loaded

    for name, lines in models.items():
        (folder / f"{name}.json").write_text(json.dumps(lines), encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with kept_loaded():
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


ABLE = '{{ if .Tools }}{{ if eq .Role "tool" }}{{ .ToolCalls }}{{ end }}{{ end }}'


def test_ollama_is_asked_for_raw_answers_and_for_the_tokens_of_a_chat(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    source = str(write_gguf(trained.merged, tmp_path / "model.gguf"))
    # as able as the Jinja in the file, which Ollama would else prefer
    go = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}" + ABLE
    short = replace(trained.contract, conversations=trained.contract.conversations[:2])
    asking = replace(trained.asking(tmp_path), contract=short)
    with ollama(tmp_path, right=[("FROM", source)]) as url:
        verdict = judge(short, asking.of_server(url, ""))
        assert verdict.holds, verdict.findings
        assert (verdict.kind, verdict.format) == ("Ollama", "float32")
        assert {(it.prompt, it.answer, it.stops) for it in verdict.conversations} == {
            ("equal",) * 3
        }
        assert all(it.drift and it.places for it in verdict.conversations)
        assert not any("Modelfile" in note for note in verdict.notes)
    with ollama(tmp_path, other=[("FROM", source), ("TEMPLATE", go)]) as url:
        verdict = judge(short, asking.of_server(url, "other"))
        with pytest.raises(UsageError, match="has 2 models") as caught:
            asking.of_server(url, "")
        # an older version counts the tokens of a prompt, and does not tell it
        monkeypatch.setattr("tests.ollama_stand_in.TELLS_PROMPTS", False)
        older = judge(short, asking.of_server(url, "other"))
        # a system prompt of its own makes other prompts of conversations that bring none
        (tmp_path / "brief.json").write_text(
            json.dumps([("FROM", source), ("SYSTEM", "Answer briefly.")]), encoding="utf-8"
        )
        brief = judge(short, asking.of_server(url, "brief"))
    assert [finding.cause for finding in verdict.findings] == ["template"]
    difference = verdict.conversations[0].prompt_difference
    assert difference is not None and difference.found.startswith("user: ")
    assert any("has a TEMPLATE" in note for note in verdict.notes)
    assert "other, right" in caught.value.fix
    assert [finding.cause for finding in older.findings] == ["template"]
    difference = older.conversations[0].prompt_difference
    assert difference is not None and difference.found.endswith("tokens")
    assert brief.holds, brief.findings
    assert {one.prompt for one in brief.conversations} <= {"equal", "unknown"}
    assert any("has a SYSTEM prompt" in note for note in brief.notes)


@pytest.mark.parametrize(
    ("cause", "model", "how"),
    [
        ("stop token", "merged", {"eos": 2303}),
        ("adapter not loaded", "base", {}),
        ("base or weights", "other", {}),
        ("dtype", "coarse", {}),
    ],
)
def test_a_model_in_ollama_that_answers_otherwise_is_caught_with_its_cause(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cause: str,
    model: str,
    how: dict[str, Any],
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    if model == "other":
        folder = of_another_base(trained, tmp_path)
    elif model == "coarse":
        folder, _ = rounded_without_a_word(trained, tmp_path)
    else:
        folder = getattr(trained, model)
    source = str(write_gguf(folder, tmp_path / "model.gguf", **how))
    with ollama(tmp_path, mine=[("FROM", source)]) as url:
        verdict = judge(trained.contract, trained.asking(tmp_path).of_server(url, ""))
    assert [finding.cause for finding in verdict.findings] == [cause], verdict.findings


def test_a_gguf_file_of_another_base_or_of_coarse_numbers_is_caught(
    trained: Trained, tmp_path: Path
) -> None:
    verdict = by_llama_cpp(trained, tmp_path, of_another_base(trained, tmp_path))
    assert [finding.cause for finding in verdict.findings] == ["base or weights"]
    verdict = by_llama_cpp(trained, tmp_path, rounded_without_a_word(trained, tmp_path)[0])
    assert [finding.cause for finding in verdict.findings] == ["dtype"], verdict.findings


def given_to_ollama(trained: Trained, model: Path, folder: Path) -> Ollama:
    """The stage that lets it import a merged model's directory."""
    (folder / "contract.json").write_text(json.dumps(as_json(trained.contract)), encoding="utf-8")
    return Ollama(
        spec=RunSpec(ollama="mine"),
        model_name="mine",
        model=model,
        base=None,
        file=None,
        contract=folder / "contract.json",
        worker=HERE,
        log=folder / "log",
    )


@needs_llama_cpp
def test_the_merged_model_that_ollama_imports_by_itself_answers_as_was_trained(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, screen = trained.copy("merged", tmp_path / "my merged"), io.StringIO()
    stage = given_to_ollama(trained, model, tmp_path)
    with installed(tmp_path / "ollama") as found, monkeypatch.context() as patched:
        for name, given in found.items():
            patched.setenv(name, given)
        made = stage.do(QUIET)
        assert made.created and made.prompts == 3 and made.verdict is not None
        assert made.verdict.holds and made.verdict.kind == "Ollama"
        lines = (model / "Modelfile").read_text(encoding="utf-8").splitlines()
        assert lines[0] == "FROM ." and 'PARAMETER stop "<|im_end|>"' in lines
        other = replace(stage, model=of_another_base(trained, tmp_path))
        with pytest.raises(EngineError, match=r"does not answer as was trained \(base or weights"):
            other.do(QUIET)
        assert not program.exists("mine"), "it was removed again"
    stage.tell(stage.do(QUIET), PlainScreen(screen), known=False)
    said = screen.getvalue()
    assert "ollama create mine -f " in said and "prove --contract" in said


def test_a_template_that_ollama_would_not_read_is_refused(trained: Trained, tmp_path: Path) -> None:
    model = trained.copy("merged", tmp_path / "merged")
    with json_of(model / "tokenizer_config.json") as config:
        (model / "chat_template.jinja").write_text(config.pop("chat_template"), encoding="utf-8")
    with pytest.raises(EngineError, match="does not read the trained chat template") as refused:
        given_to_ollama(trained, model, tmp_path).do(QUIET)
    assert "--gguf q8_0" in refused.value.fix
