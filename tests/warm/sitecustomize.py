"""Python imports this when it starts, where this folder is on its path: see warm_server.py."""

import os
import sys
from importlib import import_module

if os.environ.get("PYTEST_WARM", "0") != "0":
    words = sys.orig_argv
    first = words.index("-m") if "-m" in words else 0
    if first and words[first + 1 : first + 2] == ["fine_tuning.engine.worker"]:
        import_module("warm_client").run_warm(words[first + 2 :])
