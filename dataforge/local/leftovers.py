"""Processes of an installation that its supervisor can no longer stop, because it was killed itself.

Guarantees that only processes that this installation's supervisor started are touched: they are known by a
variable in their environment, which no one else sets, not by their name or their port.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

MARK = "DATAFORGE_SUPERVISED_HOME"


def stop(home: Path, seconds: float) -> int:
    """Stops what carries the mark of `home`, by force after `seconds`; how many there were."""
    found = [process for process in psutil.process_iter() if _belongs_to(process, home)]
    for process in found:
        _send(process, signal.SIGINT)
    _, alive = psutil.wait_procs(found, timeout=seconds)
    for process in alive:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=seconds)
    return len(found)


def _belongs_to(process: psutil.Process, home: Path) -> bool:
    try:
        mine = process.environ().get(MARK) == str(home) and process.pid != os.getpid()
        return mine and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:  # gone, or another account's
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
