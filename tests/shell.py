"""The environment of all tests: the same whatever the shell was told.

Read by tests/conftest.py before anything that reads a variable is imported. What the user's shell
says of hubs, tokens, proxies, devices, languages, colours and widths is left out; tests set what
they are about. The way to the package registry is kept aside for the tests that ask it.
"""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".pytest_cache" / "home"  # kept between runs: the list of fonts ...
KERNELS = Path(".cache") / "torch_extensions"
BROWSERS = ROOT / ".venv" / "browsers"  # where tools/make_chromium.py puts one

# What the system needs to start programs, and the test runner to speak with its own.
KEPT = ("PATH", "TMPDIR", "TEMP", "TMP", "LD_LIBRARY_PATH", "SYSTEMROOT", "COMSPEC", "PATHEXT")
KEPT_FAMILIES = ("PYTEST_", "OPENBLAS_")  # OpenBLAS computes wrongly on some processors without
REGISTRY = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
# What a job in the background of a script, or one under nohup, does not hear.
USUAL: Mapping[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
}
WARM = "PYTEST_WARM"  # folder of the warm workers (tests/warm); 0: every worker starts cold
ASIDE = "PYTEST_WAY_TO_REGISTRY"  # in the environment, as processes of pytest-xdist need it too


def cleaned(outside: Mapping[str, str]) -> dict[str, str]:
    """The variables that the tests and all that they start see."""
    kept = {
        name: value
        for name, value in outside.items()
        if name in KEPT or name.startswith(KEPT_FAMILIES)
    }
    return {
        **kept,
        "HOME": str(HOME),
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "PYTHONPATH": str(ROOT / "tests" / "warm"),
        "PLAYWRIGHT_BROWSERS_PATH": str(BROWSERS),
        # tests that import torch themselves share the cores with workers (bench/contention.py)
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def clean() -> None:
    """Give this process, and with it every process that a test starts, the tests' environment."""
    way = {name: value for name, value in os.environ.items() if name.upper().startswith(REGISTRY)}
    wanted = {ASIDE: json.dumps(way), **cleaned(os.environ)}
    share_kernels(os.environ.get("HOME"))
    with suppress(ValueError):  # not in the main thread
        for number, usual in USUAL.items():
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, usual)
    os.environ.clear()
    os.environ.update(wanted)
    if WARM not in os.environ and can_wait_for_a_fork():
        os.environ[WARM] = tempfile.mkdtemp(prefix="warm")
        Path(os.environ[WARM], "owner").write_text(str(os.getpid()), encoding="ascii")


def share_kernels(home: str | None) -> None:
    """What DeepSpeed compiles is kept where it is kept for the user: it takes half a minute, and
    torch tells apart there for which Python and CUDA it was compiled."""
    own = HOME / KERNELS
    own.parent.mkdir(parents=True, exist_ok=True)
    if home is None or Path(home) == HOME or own.exists() or own.is_symlink():
        return
    with suppress(OSError):  # a home that cannot be written to, or another process was first
        theirs = Path(home) / KERNELS
        theirs.mkdir(parents=True, exist_ok=True)
        own.symlink_to(theirs, target_is_directory=True)


def with_registry() -> dict[str, str]:
    """The tests' environment with the settings by which the user's shell reaches the registry."""
    return {**os.environ, **json.loads(os.environ[ASIDE])}


def can_wait_for_a_fork() -> bool:
    """Whether this system tells of a process by a file, as the server of warm workers needs it."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # another system than Linux, or a sandbox that refuses it
        return False
    return True


def end_warm_workers() -> None:
    """They end when their folder is gone, which only the process that made it removes: tests that
    run other tests share it."""
    owner = Path(os.environ.get(WARM, "0"), "owner")
    if owner.is_file() and owner.read_text(encoding="ascii") == str(os.getpid()):
        shutil.rmtree(os.environ[WARM], ignore_errors=True)
