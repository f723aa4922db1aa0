"""The environment test: what it finds, on made-up machines and on this one."""

import os
from importlib.metadata import version
from pathlib import Path

import pytest

from fine_tuning.cli import doctor
from fine_tuning.cli.doctor import Finding
from fine_tuning.disk.resources import REINSTALL
from tests.commands import ROOT, told


def levels(findings: object) -> list[str]:
    assert isinstance(findings, list)
    return [item.level for item in findings]


@pytest.mark.parametrize(
    ("version", "level"),
    [((3, 10, 4), "fail"), ((3, 11, 0), "ok"), ((3, 13, 9), "ok"), ((3, 14, 0), "fail")],
)
def test_python(version: tuple[int, int, int], level: str) -> None:
    assert doctor.python_finding(version).level == level


def test_a_gpu_that_torch_cannot_use_is_a_failure_with_both_versions() -> None:
    probed = {"imports": {}, "cuda": False, "cuda_build": "13.0", "cuda_error": "driver too old"}
    gpu = "NVIDIA A100, 81920 MiB, 470.57"
    (finding,) = doctor.device_findings(probed, [gpu], use_cpu=False)
    assert finding.level == "fail"
    assert "driver 470.57, torch built for CUDA 13.0. driver too old" in finding.found
    assert "--use_cpu" in finding.next
    (finding,) = doctor.device_findings(probed, [gpu], use_cpu=True)
    assert finding.level == "warn"


def test_other_devices() -> None:
    usable = {"cuda": True, "cuda_build": "13.0", "devices": ["A", "B"]}
    assert levels(list(doctor.device_findings(usable, ["x"], use_cpu=False))) == ["ok", "ok"]
    (none,) = doctor.device_findings({"cuda": False}, [], use_cpu=False)
    assert none.level == "note"


def test_a_gpu_that_does_not_compute_is_a_failure() -> None:
    probed = {"cuda": True, "cuda_build": "13.0", "devices": ["P100", "H100"]}
    found = list(
        doctor.device_findings({**probed, "broken": {"0": "no kernel"}}, [], use_cpu=False)
    )
    assert levels(found) == ["fail", "ok"]
    assert "no kernel" in found[0].found and "cu126" in found[0].next


def test_a_device_of_another_maker_is_named() -> None:
    nothing = {"cuda": False}
    (found,) = doctor.device_findings(nothing, [], use_cpu=False, others=["an AMD GPU"])
    assert found.level == "warn" and found.found.startswith("an AMD GPU")


def test_a_package_that_does_not_import_is_named_with_its_error() -> None:
    probed = {"imports": {"torch": "", "peft": "ImportError: x", "deepspeed": "ImportError: y"}}
    findings = {item.name: item for item in doctor.import_findings(probed)}
    assert findings["imports"].found.startswith("torch ")
    assert (findings["peft"].level, findings["peft"].found) == ("fail", "ImportError: x")
    assert findings["deepspeed"].level == "warn"


def test_versions_other_than_the_tested_ones_are_named() -> None:
    import yaml

    pins = {"PyYAML": "1.0", "torchaudio": "1.0", "no-such-package": "2"}
    stack, others, count = doctor.version_findings(pins)
    assert (stack.level, stack.name, stack.next) == ("warn", "torchaudio", REINSTALL)
    assert stack.found == f"{version('torchaudio')}, tested with 1.0"
    assert others.level == "note"
    assert others.found.endswith(f"in brackets: PyYAML {yaml.__version__} (1.0)")
    assert count.found == "0 packages have their tested versions"


def test_a_folder_that_cannot_be_written_is_named_with_the_flag(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (finding,) = doctor.disk_findings({"runs": tmp_path / "file"})
    assert finding.level == "fail"
    assert finding.next == "choose another with --output_dir"
    (finding,) = doctor.disk_findings({"temporary": tmp_path / "not" / "yet"})
    assert finding.level == "ok"


def test_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "USE_MODELSCOPE_HUB", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    hub, token = doctor.hub_findings()
    assert (hub.level, token.level) == ("warn", "note")
    assert "set HF_ENDPOINT to a mirror" in hub.next
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub, token = doctor.hub_findings()
    assert "offline mode (HF_HUB_OFFLINE)" in hub.found
    assert token == Finding("ok", "hub token", "present")


def test_lines_fit_80_columns() -> None:
    long = Finding("warn", "transformers", "word " * 40, "do " * 40)
    assert max(map(len, doctor.line_of(long).splitlines())) <= 80


def test_an_import_that_kills_the_process_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE", "import os, sys; sys.stderr.write('boom\\n'); os.abort()")
    assert "boom" in doctor.probe()["imports"]["torch"]


@pytest.mark.engine
def test_this_environment_is_ready(tmp_path: Path) -> None:
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = told("doctor", "--use_cpu", cwd=ROOT, env=offline, timeout=300)
    assert done.code == 0, done.text
    assert "llamafactory 0." in done.text
    assert "Ready for a run." in done.text and done.result.ready
