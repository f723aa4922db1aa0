"""Where llama.cpp's programs are looked for, and what is said where they are not."""

from pathlib import Path

import pytest

from fine_tuning.disk import resources
from fine_tuning.errors import EnvironmentProblem
from fine_tuning.ship.llama_cpp import place


def a_llama_cpp(folder: Path, *, quantizer: bool = True) -> Path:
    (folder / "gguf-py").mkdir(parents=True)
    (folder / place.CONVERTER).touch()
    if quantizer:
        program = folder / "build" / "bin" / "llama-quantize"
        program.parent.mkdir(parents=True)
        program.touch(0o755)
    return folder


@pytest.fixture(autouse=True)
def nothing_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "home", lambda: tmp_path / "set-up")


def test_the_named_folder_is_taken_before_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, other = a_llama_cpp(tmp_path / "named"), a_llama_cpp(tmp_path / "other")
    monkeypatch.setenv(place.VARIABLE, str(other))
    assert place.find(named, quantizer=True).source == named
    found = place.find(None, quantizer=True)
    assert found.source == other
    assert found.quantizer == other / "build" / "bin" / "llama-quantize"


def test_a_quantizer_on_the_path_is_found_beside_the_converter_that_was_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_llama_cpp(tmp_path / "set-up", quantizer=False)
    program = tmp_path / "bin" / "llama-quantize"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    found = place.find(None, quantizer=True)
    assert (found.source, found.quantizer) == (tmp_path / "set-up", program)


@pytest.mark.parametrize(("checkout", "command"), [(True, "make llama-cpp"), (False, " -m ")])
def test_what_is_missing_names_the_command_that_gets_it(
    checkout: bool, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "IS_CHECKOUT", checkout)
    with pytest.raises(EnvironmentProblem) as missing:
        place.find(None, quantizer=False)
    assert "converter" in missing.value.what
    assert command in missing.value.fix and str(tmp_path / "set-up") in missing.value.why
    only_converter = a_llama_cpp(tmp_path / "half", quantizer=False)
    assert place.find(only_converter, quantizer=False).quantizer is None
    with pytest.raises(EnvironmentProblem, match="quantiser"):
        place.find(only_converter, quantizer=True)
