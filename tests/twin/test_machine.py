"""The ledger beside its twin: random definitions, events, clocks, orders, claims, crashes, re-orderings; found equal.

`DATAFORGE_TWIN_MINUTES` says how long the long run takes, and `DATAFORGE_TWIN_SEED` where it begins.
"""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis.stateful import run_state_machine_as_test

from benchmarks.scratch import new_database
from dataforge.storage.database import Database
from tests.twin.machine import on

# The pool of connections draws random numbers in a thread of its own, whenever it likes.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")

# A failure is told as it was drawn, of at most so many steps: to make it smaller would take hours.
_SETTINGS = settings(
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
EXAMPLES = 50  # histories in one database


def test_the_ledger_and_its_twin_agree_after_every_step(module_database: Database) -> None:
    quick = settings(_SETTINGS, max_examples=8, stateful_step_count=20)
    run_state_machine_as_test(on(module_database), settings=quick)


@pytest.mark.long
def test_they_agree_for_a_long_time(postgres_server: str, template_database: str) -> None:
    minutes = float(os.environ.get("DATAFORGE_TWIN_MINUTES", "10"))
    until, rounds, first = time.monotonic() + 60 * minutes, 0, int(os.environ.get("DATAFORGE_TWIN_SEED", "0"))
    while time.monotonic() < until:
        with new_database(postgres_server, template_database) as url:
            database = Database(url, min_size=1, max_size=4)
            try:
                _explore(database, first + rounds)
            finally:
                database.close()
        rounds += 1
        print(f"{rounds * EXAMPLES} histories agree", flush=True)  # noqa: T201 - how far the long run is


def _explore(database: Database, number: int) -> None:
    long = settings(
        _SETTINGS, max_examples=EXAMPLES, stateful_step_count=40, derandomize=False, database=None, print_blob=True
    )
    run_state_machine_as_test(seeded(number)(on(database)), settings=long)
