"""LLaMA Board in a process of its own: `python -m fine_tuning.engine.worker.board DIR HOST PORT X`,
where X, a JSON object, says what it opens with (opened.py).

LLaMA-Factory's own `webui` command listens on every address, opens a browser, and looks for
`data/dataset_info.json` in the current folder (webui/interface.py:run_web_ui, webui/common.py).
"""

import json
import os
import signal
import sys
import threading


def main() -> None:
    """Serve LLaMA Board until the process is ended or whoever started it is gone."""
    dataset_dir, host, port, opened = sys.argv[1:]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from llamafactory.webui import interface
    from llamafactory.webui.components import eval as eval_tab
    from llamafactory.webui.components import train as train_tab
    from starlette.middleware import Middleware

    from fine_tuning.engine.worker.board.opened import open_with, opened_from
    from fine_tuning.origins import OwnOriginOnly

    open_with(opened_from(json.loads(opened)))
    train_tab.DEFAULT_DATA_DIR = dataset_dir
    eval_tab.DEFAULT_DATA_DIR = dataset_dir
    board = interface.create_ui().queue()
    guarded = {"middleware": [Middleware(OwnOriginOnly, host=host)]}
    board.launch(
        server_name=host, server_port=int(port), share=False, inbrowser=False, app_kwargs=guarded
    )


def _end_with_parent() -> None:
    """Standard input closes when the parent ends, even by kill -9; trainings end with it."""
    sys.stdin.buffer.read()
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGTERM)
    os._exit(0)


if __name__ == "__main__":
    main()
