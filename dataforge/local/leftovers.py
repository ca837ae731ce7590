"""Processes of an installation that its supervisor can no longer stop, because it or their parent was killed.

Guarantees that only processes that this installation's supervisor started are touched: they are known by a
variable in their environment, which no one else sets, not by their name or their port.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

MARK = "DATAFORGE_SUPERVISED_HOME"
_DATABASE = "postgres"
_SECONDS = 15.0  # for anything but the database, which has to write everything out


def stop(home: Path, seconds: float) -> int:
    """Stops what carries the mark of `home`, the database last and by force after `seconds`; how many there were.

    Runs that Dagster had started still write how they ended.
    """
    found = _marked(home)
    database = [process for process in found if _name(process) == _DATABASE]
    _stop([process for process in found if process not in database], _SECONDS)
    _stop(database, seconds)
    return len(found)


def stop_orphans(home: Path, supervisor: int) -> None:
    """Stops what carries the mark and is no longer below the supervisor: runs whose code server was killed."""
    try:
        below = {process.pid for process in psutil.Process(supervisor).children(recursive=True)}
    except psutil.NoSuchProcess:
        return
    _stop([process for process in _marked(home) if process.pid not in below | {supervisor}], _SECONDS)


def _stop(found: list[psutil.Process], seconds: float) -> None:
    for process in found:
        _send(process, signal.SIGINT)
    _, alive = psutil.wait_procs(found, timeout=seconds)
    for process in alive:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=seconds)


def _marked(home: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _belongs_to(process, home)]


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


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
