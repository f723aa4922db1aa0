"""llama.cpp's server, its converter and its quantiser: the real ones on a tiny model."""

import subprocess
import sys
from pathlib import Path

import pytest

from fine_tuning.errors import EngineError
from fine_tuning.ship.llama_cpp.place import home
from fine_tuning.ship.llama_cpp.serve import ask, serving
from tests.llama_cpp import needs_llama_cpp


@needs_llama_cpp
def test_a_quantized_file_is_served_and_the_server_ends_with_the_block(
    demo_gguf: Path, tmp_path: Path
) -> None:
    target = tmp_path / "demo-q4.gguf"
    module = "fine_tuning.ship.llama_cpp.quantize"
    words = [str(home() / "quantizer"), str(demo_gguf), str(target), "15", "1"]
    subprocess.run([sys.executable, "-m", module, *words], check=True, capture_output=True)
    assert target.stat().st_size < demo_gguf.stat().st_size / 3
    with serving(target, tmp_path / "log", context=512) as url:
        assert ask(url, "/props")["model_ftype"] == "Q4_K - Medium"
        asked = {"prompt": [1, 2, 3], "n_predict": 2, "temperature": 0, "return_tokens": True}
        assert len(ask(url, "/completion", asked)["tokens"]) == 2
        with pytest.raises(EngineError, match="did not answer /nowhere"):
            ask(url, "/nowhere")
    with pytest.raises(EngineError):
        ask(url, "/props")


def test_what_is_no_model_is_refused_with_what_llama_cpp_says(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF and nothing else")
    with (
        pytest.raises(EngineError, match="does not load") as refused,
        serving(file, tmp_path / "log"),
    ):
        pass
    assert "load model" in refused.value.why or "loading model" in refused.value.why
    assert str(tmp_path / "log") in refused.value.fix
