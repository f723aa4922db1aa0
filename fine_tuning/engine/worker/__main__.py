"""The worker process: runs requested stages one after the other in one process.

    python -m fine_tuning.engine.worker LOG [JOB.json]

Requests are lines of JSON, `{"stage": NAME, "args": {...}}`, from standard input or the job file.
Each is answered by a `result` or an `error` event. Libraries are imported once.
"""

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from fine_tuning.engine.worker.events import Events, divert_input, divert_output
from fine_tuning.errors import FineTuningError, RowsError


def end_with_front_end() -> None:
    """End this process when the front end has gone, so that no training runs on unseen.

    A front end that is killed cannot say goodbye; two workers in one run folder would overwrite
    each other's checkpoints.
    """
    import psutil

    try:
        front_end = psutil.Process(int(os.environ["FINE_TUNING_FRONT_END"]))
    except (KeyError, psutil.NoSuchProcess):
        return

    def watch() -> None:
        while front_end.is_running() and front_end.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def requests(job_path: Path | None, stream: TextIO) -> Iterator[dict[str, Any]]:
    """The requests, as they arrive."""
    if job_path is not None:
        yield from json.loads(job_path.read_text(encoding="utf-8"))
        return
    for line in stream:
        if line.strip():
            yield json.loads(line)


def answer(request: dict[str, Any], events: Events) -> bool:
    """Run one stage and send its result or its error; False if it failed."""
    from fine_tuning.engine.worker.libraries import stages

    events.send("begun", {})
    try:
        result = stages()[request["stage"]](events=events, **request["args"])
    except FineTuningError as error:
        parts = {"what": error.what, "why": error.why, "fix": error.fix}
        rows = list(error.rows) if isinstance(error, RowsError) else []
        events.send("error", {**parts, "kind": type(error).__name__, "rows": rows})
        return False
    except BaseException as error:
        with suppress(OSError):  # on a full disk the log is full too, and the cause must be heard
            traceback.print_exc()
            sys.stderr.flush()
        events.send(
            "error",
            {
                "kind": "unknown",
                "type": type(error).__name__,
                "text": str(error),
                "trace": traceback.format_exc()[-4000:],
            },
        )
        return False
    events.send("result", {"value": result})
    return True


def main() -> int:
    """Answer requests until there are none left; the exit code says whether the last one failed."""
    log_path = Path(sys.argv[1])
    job_path = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    events = Events(divert_output(log_path))
    stream = divert_input()
    end_with_front_end()
    from fine_tuning.engine.worker.libraries import stages

    stages()  # imports them, while the front end does what comes before its first request
    ok = True
    for request in requests(job_path, stream):
        ok = answer(request, events)
        if not ok and job_path is not None:
            break
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
