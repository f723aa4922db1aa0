"""Gets llm-compressor with what it needs otherwise than this environment has it."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fine_tuning.ship.llm_compressor.place import PINNED, home, is_there


def main() -> int:
    """Get it if it is not there yet; the exit code says whether it is."""
    target = home()
    if is_there(target):
        print(f"llm-compressor is set up in {target}.")
        return 0
    print("Getting llm-compressor (120 MB on the disk, about a minute) ...", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".llm-compressor-") as beside:
        made = Path(beside, "made")
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        wanted = [f"{name}=={version}" for name, version in PINNED.items()]
        command = [*pip, "--no-deps", "--only-binary", ":all:", "--target", str(made), *wanted]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
        if done.returncode or not is_there(made):
            print("llm-compressor cannot be had here: pip says why.")
            return 1
        shutil.rmtree(target, ignore_errors=True)  # of a set-up that was ended
        made.rename(target)
    print(f"llm-compressor is set up in {target}.")
    return 0
