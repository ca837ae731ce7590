"""The worker: announces what may run in every environment, writes down the end of leases that ran out, and beside that
keeps backfills going.

Guarantees that it may be killed at any point and started any number of times: what it has not finished stands in the
tables as it did, and several of them take turns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from threading import Event

from dataforge.dispatch import lease
from dataforge.dispatch.announce import announce
from dataforge.dispatch.release import tend
from dataforge.ingest.redaction import Redaction
from dataforge.model.errors import DatabaseUnavailable
from dataforge.storage import environment as environments
from dataforge.storage.database import Database

_PAUSE = 0.05  # seconds between two looks at an empty outbox: half of what an announcement may take
_LOOK = 1.0  # seconds between two looks at backfills, whose partitions run for minutes
_OUTAGE = 1.0  # seconds until a database that is down is asked again
_log = logging.getLogger(__name__)


def work(database: Database, redaction: Redaction, trusted: frozenset[str], stop: Event) -> None:
    """Works until it is told to stop. A database that is down is waited for. Takes two connections."""
    looking = partial(_each, database, partial(_look, database, redaction, trusted))
    announcing = partial(_each, database, partial(_announce, database, redaction, trusted))
    with ThreadPoolExecutor(1) as beside:
        looks = beside.submit(_repeat, looking, _LOOK, stop)
        try:
            _repeat(announcing, _PAUSE, stop)
        finally:
            stop.set()
    looks.result()


def _repeat(step: Callable[[], bool], pause: float, stop: Event) -> None:
    """Takes step after step, with a pause after each that had nothing to do; ends the whole worker where it fails."""
    down = False
    try:
        while not stop.is_set():
            try:
                if not step():
                    stop.wait(pause)
                down = False
            except DatabaseUnavailable as error:
                if not down:
                    _log.warning("waiting for the database: %s", error)
                down = True
                stop.wait(_OUTAGE)
    finally:
        stop.set()


def _each(database: Database, work_in: Callable[[str], int]) -> bool:
    """One look at every environment; whether there was anything to do."""
    with database.transaction() as connection:
        names = environments.names(connection)
    return sum(map(work_in, names)) > 0


def _announce(database: Database, redaction: Redaction, trusted: frozenset[str], name: str) -> int:
    now = datetime.now(UTC)
    ended = lease.end_what_ran_out(database, name, now, redaction)
    return ended + announce(database, name, now, trusted=trusted)


def _look(database: Database, redaction: Redaction, trusted: frozenset[str], name: str) -> int:
    tend(database, name, datetime.now(UTC), redaction, trusted=trusted)
    return 0  # however much it was, the next look may wait
