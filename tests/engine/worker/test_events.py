"""The worker's requests come by a stream of their own."""

import subprocess
import sys

ASKS = """
from fine_tuning.engine.worker.events import divert_input
stream = divert_input()
try:
    print("answered", input("Do you wish to run the custom code? [y/N] "))
except EOFError:
    print("nobody there")
print(stream.read())
"""


def test_a_library_that_asks_on_stdin_does_not_read_a_request() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKS], input="first\nsecond\n", text=True, capture_output=True
    )
    assert done.stdout.endswith("nobody there\nfirst\nsecond\n\n")
