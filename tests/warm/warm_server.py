"""A process that has imported what a worker imports, and forks one for each that a test starts.

The libraries take most of the time of a short run, the same for every test. A test's worker is
started as always: its command, environment, pipes, session and exit code are those of the product.
Only where `sitecustomize` in this folder sees that command, it hands its pipes to a fork of this
process, which runs the very module that the command names. The environment must be the same, to
the letter: libraries read it while they are imported. `PYTEST_WARM=0` starts all of them cold.
"""

import json
import os
import resource
import runpy
import selectors
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

WORKER = "fine_tuning.engine.worker"


def serve(place: Path) -> dict[str, Any]:
    """Fork for each that comes, and tell him how his fork has ended; in a fork it returns what it
    is to do. Ends with the tests, who own the folder."""
    owner = int(place.parent.joinpath("owner").read_text(encoding="ascii"))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.fspath(place / "door.new"))
    listener.listen(64)
    (place / "door.new").rename(place / "door")
    watched = selectors.DefaultSelector()
    watched.register(listener, selectors.EVENT_READ)
    children: dict[int, socket.socket] = {}
    while lives(owner) and place.exists():
        for key, _ in watched.select(timeout=2):
            if key.fileobj is listener:
                connection, _ = listener.accept()
                asked, pipes = received(connection)
                child = os.fork()
                if child == 0:
                    for known in [*watched.get_map().values()]:
                        if isinstance(known.fileobj, socket.socket):
                            known.fileobj.close()
                        else:
                            os.close(known.fd)
                    watched.close()
                    connection.close()
                    become(asked, pipes)
                    return asked
                for pipe in pipes:
                    os.close(pipe)
                children[child] = connection
                watched.register(connection, selectors.EVENT_READ, child)
                watched.register(os.pidfd_open(child), selectors.EVENT_READ, child)
            elif isinstance(key.fileobj, socket.socket):
                if key.data in children:
                    said = heard(key.fileobj)
                    os.kill(key.data, said or signal.SIGKILL)
                    if not said:  # he was killed
                        watched.unregister(key.fileobj)
            else:
                _, status = os.waitpid(key.data, 0)
                watched.unregister(key.fileobj)
                os.close(key.fd)
                with children.pop(key.data) as connection, suppress(KeyError, OSError):
                    connection.sendall(status.to_bytes(4, "big"))
                    watched.unregister(connection)
    sys.exit()


def lives(pid: int) -> bool:
    """Whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


def heard(connection: socket.socket) -> int:
    """The signal that a worker's process was sent; 0 where it has gone."""
    try:
        said = connection.recv(1)
    except OSError:
        return 0
    return said[0] if said else 0


def received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What a worker is asked for, and its standard input, output and error."""
    length, pipes, _, _ = socket.recv_fds(connection, 4, 3)
    size, text = int.from_bytes(length, "big"), b""
    while len(text) < size:
        text += connection.recv(size - len(text))
    return json.loads(text), pipes


def become(asked: dict[str, Any], pipes: list[int]) -> None:
    """Give this process what the process that asked was given."""
    os.setsid()
    for number, pipe in enumerate(pipes):
        os.dup2(pipe, number)
        os.close(pipe)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    os.umask(asked["umask"])
    for name, limits in asked["limits"].items():
        resource.setrlimit(getattr(resource, name), limits)
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        signal.signal(number, signal.SIG_IGN if number in asked["ignored"] else usual)
    sys.orig_argv[:] = asked["orig_argv"]
    sys.argv[:] = ["-m", *asked["words"]]


if __name__ == "__main__":
    from fine_tuning.engine.worker.libraries import stages

    stages()  # this is what takes its time; what nobody touches stays shared
    import fine_tuning.engine.worker.merging.merge
    import fine_tuning.engine.worker.training.train  # noqa: F401  # most tests train and merge

    serve(Path(sys.argv[1]))
    runpy.run_module(WORKER, run_name="__main__", alter_sys=True)
