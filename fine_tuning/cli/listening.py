"""Where a server of ours listens: on this machine only, unless another address is asked for."""

import socket
from errno import EACCES, EADDRINUSE

from fine_tuning.errors import EnvironmentProblem, UsageError

LOCAL = "127.0.0.1"


def port_to_listen_on(host: str, wanted: int | None, usual: int) -> int:
    """The port to listen on: the one asked for, else the usual one, else any free one."""
    if wanted is not None and not 0 < wanted < 65536:
        raise UsageError(f"--port {wanted} is not a port; ports are 1 to 65535.")
    if wanted is not None:
        if not _is_free(host, wanted):
            raise EnvironmentProblem(
                f"Port {wanted} on {host} is taken or not allowed.",
                why="another program listens there, perhaps an earlier call of this command.",
                fix="end that program, give another --port, or leave --port out for a free one.",
            )
        return wanted
    if _is_free(host, usual):
        return usual
    with _listen(host, 0) as server:
        return int(server.getsockname()[1])


def _is_free(host: str, port: int) -> bool:
    try:
        with _listen(host, port):
            return True
    except OSError as error:
        if error.errno in (EADDRINUSE, EACCES):
            return False
        raise EnvironmentProblem(
            f"--host {host} is not an address of this machine.",
            why=error.strerror or str(error),
            fix="leave --host out to serve this machine only",
        ) from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def url_of(host: str, port: int) -> str:
    """The address at which this machine reaches the server."""
    known = {"0.0.0.0": LOCAL, "::": LOCAL}.get(host, host)  # every address, so also this one
    return f"http://[{known}]:{port}" if ":" in known else f"http://{known}:{port}"


def warning_of(host: str) -> str:
    """What somebody should know who serves others; empty for this machine alone."""
    if host in (LOCAL, "localhost", "::1"):
        return ""
    return f"Everybody who can reach {host} can use it"
