"""The worker's process: `python -m dataforge.dispatch`, in the foreground, logging to stderr."""

from __future__ import annotations

import logging
import signal
from threading import Event

from dataforge import settings as installation
from dataforge.dispatch.worker import work
from dataforge.ingest import redaction
from dataforge.ingest.garbage import collect_less
from dataforge.local.postgres import database_url
from dataforge.storage.database import Database


def main() -> None:
    """Works until it is told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(asctime)s %(name)s %(message)s")
    collect_less()
    settings, stop = installation.current(), Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    database = Database(database_url(settings), max_size=2)
    try:
        work(database, redaction.load(settings.redaction), settings.trusted, stop)
    finally:
        database.close()


if __name__ == "__main__":
    main()
