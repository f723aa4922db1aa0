"""Who asks a run to end is heard: a batch system, `docker stop`, a terminal that is closed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
TWICE = """
import os, signal, time
from fine_tuning.cli.run import end_like_ctrl_c
end_like_ctrl_c()
for seconds in (0, 0.3, 1.2):
    time.sleep(seconds)
    try:
        os.kill(os.getpid(), signal.SIGINT if seconds else signal.SIGTERM)
        time.sleep(0.01)
        print("the same", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
PROGRAM = """
import sys, time
from pathlib import Path
from fine_tuning.cli.run import end_like_ctrl_c
end_like_ctrl_c()
try:
    print("running", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.2)  # the shell hangs up too
    print("saving", flush=True)
    Path(sys.argv[1]).write_text("saved")
"""


def test_a_closed_terminal_ends_a_run_like_ctrl_c(tmp_path: Path) -> None:
    """The run was killed, and the steps since its last checkpoint were lost."""
    import pty

    child, terminal = pty.fork()
    if child == 0:
        os.chdir(Path(__file__).parents[2])
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(tmp_path / "checkpoint")])
    assert b"running" in os.read(terminal, 100)
    os.close(terminal)
    os.kill(child, signal.SIGHUP)
    os.waitpid(child, 0)
    assert (tmp_path / "checkpoint").read_text() == "saved"


@pytest.mark.parametrize(
    ("before", "ended"), [([], True), (["nohup"], False)], ids=["usual", "nohup"]
)
def test_a_hang_up_ends_a_run_unless_it_was_started_with_nohup(
    tmp_path: Path, before: list[str], ended: bool
) -> None:
    checkpoint = tmp_path / "checkpoint"
    process = subprocess.Popen(
        [*before, sys.executable, "-c", PROGRAM, str(checkpoint)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGHUP)
    if not ended:
        process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert output == "saving\n"
    assert checkpoint.exists()


def test_a_second_signal_within_a_second_is_the_same_signal() -> None:
    """`timeout` and a shell both sent one: the second killed the saving of the checkpoint."""
    done = subprocess.run(
        [sys.executable, "-c", TWICE], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:3] == ["interrupted", "the same", "interrupted"], done.stderr
