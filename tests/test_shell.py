"""Whatever the shell says, the same tests pass: they never see it."""

import os
import subprocess
import sys

from tests import shell
from tests.commands import ROOT, starts_in_ascii

HOSTILE = {
    "HF_HUB_OFFLINE": "1",
    "HF_ENDPOINT": "http://127.0.0.1:9",
    "HF_TOKEN": "hf_of_somebody",
    "HF_HOME": "/nowhere",
    "TRANSFORMERS_OFFLINE": "1",
    "USE_MODELSCOPE_HUB": "1",
    "CUDA_VISIBLE_DEVICES": "7",
    "OMP_NUM_THREADS": "1",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "all_proxy": "socks5://127.0.0.1:9",
    "LANG": "C",
    "LC_ALL": "C",
    "TERM": "dumb",
    "COLUMNS": "13",
    "NO_COLOR": "1",
    "FORCE_COLOR": "1",
    "CI": "true",
    "PYTHONWARNINGS": "error",
    "GRADIO_SERVER_PORT": "1",
}


def test_nothing_of_the_shell_reaches_a_test() -> None:
    mine = {"PATH": "/bin", "PYTEST_XDIST_WORKER": "gw0", "OPENBLAS_CORETYPE": "Haswell"}
    assert shell.cleaned({**HOSTILE, **mine, "HOME": "/home/somebody"}) == {
        **shell.cleaned({}),
        **mine,
    }
    assert HOSTILE.keys() & os.environ.keys() <= {"LANG", "TERM"}


@starts_in_ascii
def test_tests_of_hub_screen_and_environment_pass_in_a_hostile_shell() -> None:
    """The tests that read most of it, without a home directory."""
    names = ("engine/models/test_hub.py", "dataset/sources/test_hub.py", "cli/test_doctor.py")
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-n", "0"]
    quick = ["-m", "not engine", "-k", "not modelscope and not nothing_in_the_cache"]
    done = subprocess.run(
        [*pytest, *quick, *(f"tests/{name}" for name in names)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **HOSTILE},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
