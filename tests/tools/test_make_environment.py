"""`make install`: what stops it says so in one line; what is installed is not installed again."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests import shell

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "make_environment.py"
NO_REGISTRY = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",  # nobody listens there
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_RETRIES": "1",
}


@pytest.fixture
def script() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("make_environment", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project that is nothing but what the script reads."""
    return copied_to(tmp_path / "a project 项目")


def copied_to(place: Path) -> Path:
    (place / "tools").mkdir(parents=True)
    shutil.copy(SCRIPT, place / "tools")
    for name in ("pyproject.toml", "constraints.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, place)
    return place


def run(place: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(place / "tools" / "make_environment.py")],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_it_can_be_read_by_pythons_that_are_too_old() -> None:
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 4))


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 10, 0), (3, 14, 0)])
def test_a_python_that_cannot_be_used(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert str(stopped.value) == (
        f"error: Python {version[0]}.{version[1]} cannot be used; install Python 3.11, 3.12 or "
        "3.13 and run `make PYTHON=python3.11 ...`."
    )


@pytest.mark.parametrize(
    ("machine", "release", "cause"),
    [
        ("x86_64", "15.1", "torch is no longer built for Macs with an Intel processor"),
        ("arm64", "13.6", "bitsandbytes is built for macOS 14 and newer, and this is 13.6"),
        ("arm64", "14.0", ""),
    ],
)
def test_a_mac_that_has_no_tested_versions(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, machine: str, release: str, cause: str
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(script.platform, "machine", lambda: machine)
    monkeypatch.setattr(script.platform, "mac_ver", lambda: (release, ("", "", ""), machine))
    assert script.unsupported_system() == cause


def test_no_network_is_one_line_and_the_next_try_goes_on(place: Path) -> None:
    done = run(place, **NO_REGISTRY)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "the package registry cannot be reached" in line
    assert "check the network" in line and str(place / ".venv" / "install.log") in line
    assert not (place / ".venv" / "installed.txt").exists()
    made = (place / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    assert run(place, **NO_REGISTRY).returncode == 1
    assert (place / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == made


def test_what_is_installed_is_not_installed_again(place: Path, script: ModuleType) -> None:
    python = place / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (place / ".venv" / "installed.txt").write_text(script.wanted(), encoding="utf-8")
    done = run(place, **NO_REGISTRY)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_other_versions_are_installed_anew(place: Path, script: ModuleType) -> None:
    stamp = script.wanted()
    with (place / "constraints.txt").open("a", encoding="utf-8") as constraints:
        constraints.write("another==1.0\n")
    python = place / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (place / ".venv" / "installed.txt").write_text(stamp, encoding="utf-8")
    assert run(place, **NO_REGISTRY).returncode == 1


def test_a_changed_setting_of_a_tool_installs_nothing(
    place: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = script.wanted()
    monkeypatch.setattr(script, "ROOT", str(place))
    assert script.wanted() == before
    project = place / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    project.write_text(text.replace("line-length = 100", "line-length = 99"), encoding="utf-8")
    assert script.wanted() == before
    project.write_text(text.replace("torch==", "torch>="), encoding="utf-8")
    assert script.wanted() != before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "Downloading torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl (530.2 MB)\n",
            "downloading torch 2.11.0 (530.2 MB)",
        ),
        (
            "  Downloading http://127.0.0.1/n/nvidia_nccl_cu13-2.28.9-py3-none-any.whl (0.2 GB)",
            "downloading nvidia_nccl_cu13 2.28.9 (0.2 GB)",
        ),
        ("  Downloading jieba-0.42.1.tar.gz (19.2 MB)\n", ""),
        ("Downloading rich-15.0.0-py3-none-any.whl (310 kB)\n", ""),
        ("  Downloading torch-2.11.0-cp311-cp311-manylinux.whl.metadata (29 kB)\n", ""),
        ("Installing collected packages: a, b, c\n", "unpacking 3 packages ..."),
        ("Collecting torch==2.11.0\n", ""),
    ],
)
def test_who_waits_is_told_of_large_downloads_only(
    script: ModuleType, line: str, said: str
) -> None:
    assert script.progress(line) == said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 60 MB: room for an environment, not for its packages."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system (root on Linux)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_too_little_space_is_said_before_anything_is_downloaded(small_disk: Path) -> None:
    place = copied_to(small_disk / "project")
    done = run(place, **NO_REGISTRY)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "0.1 GB are free here and the packages need 8 GB" in line
    assert not (place / ".venv").exists()


def test_a_disk_that_fills_up_on_the_way(small_disk: Path) -> None:
    """The environment is there, so the script goes on; pip then finds no room for a package."""
    place = copied_to(small_disk / "project")
    subprocess.run([sys.executable, "-m", "venv", str(place / ".venv")], check=True)
    wheel = make_wheel(place.parent.parent, megabytes=80)
    (place / "requirements-dev.txt").write_text("bulky\n", encoding="utf-8")
    temporary = place.parent.parent / "temporary"  # where pip unpacks: not on the small disk
    temporary.mkdir()
    done = run(
        place,
        **{**NO_REGISTRY, "PIP_FIND_LINKS": str(wheel.parent), "PIP_NO_INDEX": "1"},
        TMPDIR=str(temporary),
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "the installation failed: the disk is full; free about 8 GB" in line


def make_wheel(folder: Path, megabytes: int) -> Path:
    """A valid wheel whose one file is that large once it is unpacked."""
    import zipfile

    path = folder / "bulky-1.0-py3-none-any.whl"
    info = "bulky-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("bulky.bin", bytes(megabytes << 20))
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: bulky\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(
            f"{info}/RECORD", f"bulky.bin,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return path


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["linux", "aarch64-manylinux_2_28", "macos", "windows"])
def test_every_package_of_every_system_is_to_be_had_and_pinned(system: str, python: str) -> None:
    """Resolves for the other systems, with built packages only; asks the package registry."""
    done = subprocess.run(
        [
            *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
            *("pyproject.toml", "--extra", "dev", "--constraint", "constraints.txt"),
            *("--python-platform", system, "--python-version", python),
            # these two are built from source everywhere (deepspeed: on Linux only)
            *("--only-binary", ":all:", "--no-binary", "deepspeed", "--no-binary", "jieba"),
        ],
        cwd=ROOT,
        env={
            **shell.with_registry(),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "MACOSX_DEPLOYMENT_TARGET": "14.0",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = {line.partition("==")[0].lower().replace("_", "-") for line in done.stdout.splitlines()}
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    assert len(found) > 100
    assert found <= pinned
    assert ("deepspeed" in found) == (system not in ("macos", "windows"))
