"""What waiting threads cost on a busy machine: OpenMP's active waiting beside passive waiting.

    .venv/bin/python bench/contention.py

Runs the same small training loop in two processes at once, first with the default (threads spin
while they wait), then with OMP_WAIT_POLICY=PASSIVE, which our worker sets.
"""

import os
import subprocess
import sys
import time

LOOP = """
import torch
torch.set_num_threads(2)
model = torch.nn.Sequential(*[torch.nn.Linear(192, 192) for _ in range(24)])
rows = torch.randn(800, 192)
for _ in range(100):
    model(rows).sum().backward()
"""


def seconds(policy: str) -> float:
    """Wall time of two such processes side by side."""
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    if not policy:
        del environment["OMP_WAIT_POLICY"]
    began = time.perf_counter()
    running = [subprocess.Popen([sys.executable, "-c", LOOP], env=environment) for _ in range(2)]
    for process in running:
        process.wait()
    return time.perf_counter() - began


def main() -> None:
    """Print both times and their ratio."""
    active, passive = seconds(""), seconds("PASSIVE")
    print(f"two processes, waiting actively  {active:7.1f} s")
    ratio = active / passive
    print(f"two processes, waiting passively {passive:7.1f} s  ({ratio:.1f} times faster)")


if __name__ == "__main__":
    main()
