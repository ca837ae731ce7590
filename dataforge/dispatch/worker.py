"""The worker: announces what may run in every environment, and writes down the end of leases that ran out.

Guarantees that it may be killed at any point and started any number of times: what it has not finished stands in the
tables as it did, and several of them take turns.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from threading import Event

from dataforge.dispatch import claim
from dataforge.dispatch.announce import announce
from dataforge.dispatch.release import tend
from dataforge.ingest.redaction import Redaction
from dataforge.model.errors import DatabaseUnavailable
from dataforge.storage import environment as environments
from dataforge.storage.database import Database

_PAUSE = 0.05  # seconds between two looks at an empty outbox: half of what an announcement may take
_OUTAGE = 1.0  # seconds until a database that is down is asked again
_log = logging.getLogger(__name__)


def work(database: Database, redaction: Redaction, trusted: frozenset[str], stop: Event) -> None:
    """Works until it is told to stop. A database that is down is waited for."""
    down = False
    while not stop.is_set():
        try:
            busy = _step(database, redaction, trusted)
        except DatabaseUnavailable as error:
            if not down:
                _log.warning("waiting for the database: %s", error)
            down, busy = True, False
            stop.wait(_OUTAGE)
            continue
        down = False
        if not busy:
            stop.wait(_PAUSE)


def _step(database: Database, redaction: Redaction, trusted: frozenset[str]) -> bool:
    """One look at every environment; whether there was anything to do."""
    with database.transaction() as connection:
        names = environments.names(connection)
    return sum(_in_environment(database, name, redaction, trusted) for name in names) > 0


def _in_environment(database: Database, name: str, redaction: Redaction, trusted: frozenset[str]) -> bool:
    now = datetime.now(UTC)
    ended = claim.end_what_ran_out(database, name, now, redaction)
    return bool(
        ended + announce(database, name, now, trusted=trusted) + tend(database, name, now, redaction, trusted=trusted)
    )
