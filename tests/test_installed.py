"""The installed command: a wheel in an environment that does not know the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from fine_tuning import __version__
from tests import shell
from tests.commands import ROOT, environment

pytestmark = pytest.mark.engine  # `doctor` imports the engine


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel; the suite's own packages stand for what
    it depends on, so that nothing is downloaded."""
    home = tmp_path_factory.mktemp("installed") / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--quiet", str(wheel)], check=True)
    [site] = (home / "lib").glob("python*/site-packages")
    # a plain path: whatever lies there is found, what lies elsewhere by its .pth files is not
    (site / "suite.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return home / "bin"


def installed(
    scripts: Path, *words: str, cwd: Path, name: str = "lfft", timeout: float = 120
) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(scripts), os.environ["PATH"]])
    return subprocess.run(
        [str(scripts / name), *words],
        cwd=cwd,
        env=environment(PATH=path, PYTHONPATH=""),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_the_wheel_holds_what_git_knows_of_the_bundled_folders(wheel: Path) -> None:
    """Not the entries and rows that runs leave in data/, and not the tests."""
    folders = ("configs", "data", "dataset_info", "demo_model")
    known = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    bundled = {name for name in names if name.startswith("fine_tuning/bundled/")}
    assert bundled == {f"fine_tuning/bundled/{name}" for name in (*known, "constraints.txt")}
    assert {name.partition("/")[0] for name in names} == {
        "fine_tuning",
        f"llama_factory_fine_tuning-{__version__}.dist-info",
    }


@pytest.mark.parametrize("name", ["lfft", "llama-factory-fine-tuning"])
def test_both_commands_say_how_they_are_called(scripts: Path, name: str, tmp_path: Path) -> None:
    done = installed(scripts, "--help", cwd=tmp_path, name=name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {name} [command] [flags]\n")
    assert f"  {name} run --dataset_format alpaca" in done.stdout
    assert "llama_factory_fine_tuning.py" not in done.stdout
    wrong = installed(scripts, "validate", "--sed", "1", cwd=tmp_path, name=name)
    assert wrong.returncode == 2
    assert f"`{name} validate --help` lists the flags" in wrong.stderr


def test_a_bundled_sample_is_checked_from_any_folder(scripts: Path, tmp_path: Path) -> None:
    [bundled] = scripts.parent.glob("lib/*/site-packages/fine_tuning/bundled")
    sample = str(bundled / "data" / "sharegpt.json")
    done = installed(
        scripts, "validate", "--dataset_path", sample, "--report", "r.json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sharegpt.json" in (tmp_path / "r.json").read_text(encoding="utf-8")


def test_doctor_compares_the_versions_and_nothing_comes_from_the_checkout(
    scripts: Path, tmp_path: Path
) -> None:
    done = installed(scripts, "doctor", cwd=tmp_path, timeout=300)
    assert "ok    versions" in done.stdout, done.stdout + done.stderr
    assert "ok    imports" in done.stdout
    assert str(ROOT) + os.sep + "fine_tuning" not in done.stdout
    where = "import fine_tuning.disk.resources as r; print(r.IS_CHECKOUT, r.ROOT)"
    found = subprocess.run(
        [str(scripts / "python"), "-c", where], cwd=tmp_path, capture_output=True, text=True
    ).stdout.split()
    assert found[0] == "False" and Path(found[1]).is_relative_to(scripts.parent)


@pytest.mark.slow
def test_the_whole_job_from_the_installed_command(scripts: Path, tmp_path: Path) -> None:
    words = ("--preset", "lora", "--dataset_format", "alpaca", "--output_dir", "run")
    done = installed(scripts, *words, "--export_dir", "merged", cwd=tmp_path, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "merged" / "model.safetensors").is_file()
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
def test_what_plain_pip_would_install_has_the_tested_engine(tmp_path: Path) -> None:
    """Without the constraints file, as `pip install .` resolves; asks the package registry."""
    found = tmp_path / "resolved.txt"
    uv = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--no-annotate", "-q"]
    subprocess.run([*uv, "-o", str(found)], cwd=ROOT, env=shell.with_registry(), check=True)
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    lines = found.read_text(encoding="utf-8").splitlines()
    resolved = dict(line.split("==") for line in lines if "==" in line and ";" not in line)
    stack = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "gradio", "pandas")
    for name in (*stack, "tokenizers", "setuptools", "llamafactory", "bitsandbytes"):
        assert resolved[name] == pinned[name]
