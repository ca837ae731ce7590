"""Events for the mirror at full load, as fast as the ledger takes them: `python -m` this, with a database."""

import itertools
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.storage.database import Database

TASKS, DAYS = 20_000, 30
RATE, AT_ONCE = 4_000, 500  # events a second; of one transaction
LAKE = "s3://lake"
FIRST = datetime(2026, 10, 1, tzinfo=UTC)


def feed(url: str) -> None:
    """Records events until it is ended."""
    database = Database(url)
    numbers = itertools.count()
    while True:
        due = time.time() + AT_ONCE / RATE
        record_native(database, "dev", [_event(next(numbers)) for _ in range(AT_ONCE)], NOTHING)
        time.sleep(max(0.0, due - time.time()))


def _event(number: int) -> dict[str, Any]:
    """A task after the other ends, of one day and then of the next; each tenth run fails."""
    task, day = number * 7_919 % TASKS, number // TASKS % DAYS
    name, run = name_of(task), f"{day_of(day)} {number // TASKS // DAYS}"
    return {
        "time": datetime.now(UTC).isoformat(),
        "task": {"namespace": "bench", "name": f"load_{name}"},
        "run": run,
        "partition": day_of(day),
        "state": "failed" if number % 10 == 0 else "succeeded",
        "outputs": [{"namespace": LAKE, "name": name, "partition": day_of(day)}],
    }


def name_of(number: int) -> str:
    """The dataset that a task writes; the first 5,000 are the window."""
    return f"table_{number:05}"


def day_of(day: int) -> str:
    """The partition of a day."""
    return (FIRST + timedelta(days=day)).strftime("%Y-%m-%d")


if __name__ == "__main__":
    feed(sys.argv[1])
