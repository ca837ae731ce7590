"""Whether a port can be listened on, asked before anything is started.

Guarantees that a port in the way is named together with the setting that changes it.
"""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from dataforge.model.errors import StartupError


def require_free(host: str, port: int, setting: str) -> None:
    """Raises where `host`:`port` cannot be listened on; `setting` is what chose the port."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: connections that are only just closed do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise StartupError(_message(host, port, setting, error)) from error


def _message(host: str, port: int, setting: str, error: OSError) -> str:
    remedy = f"set {setting} to another port"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken: stop what listens there, or {remedy}"
    return f"port {port} on {host} cannot be opened ({error.strerror}): {remedy}"


def answers(path: Path) -> bool:
    """Whether somebody listens at a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


def of_process(pid: int) -> set[int]:
    """The ports that a process listens on; none where it is gone."""
    import psutil  # a slow import, and most calls need none

    try:
        found = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return set()
    return {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}
