"""The parts of event bodies hold what was recorded before they were made; a page of them reads no more than itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from benchmarks import workload
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.storage import rebuilt
from dataforge.storage.database import MIGRATIONS, Database, migrate
from dataforge.storage.event import READ
from tests.storage.plan import rows_read

pytestmark = pytest.mark.xdist_group("event-bodies")  # in one process, which makes once what they share

MOVED = "0009_event_bodies.sql"
OLD = """
insert into event (environment, occurred_at, id, kind, body, recorded_at)
select 1, '2025-01-01', decode(lpad(n::text, 32, '0'), 'hex'), 'run', ('x' || n)::bytea, now() - n * interval '30 days'
from generate_series(1, 10) n
"""
NEW = """
select count(*), count(distinct b.number), count(*) filter (where b.tableoid = 'event_body_rest'::regclass)
from event e join event_body b on b.environment = e.environment and b.number = e.number and b.id = e.id
    and b.recorded_at = e.recorded_at and b.body = ('x' || ltrim(encode(e.id, 'hex'), '0'))::bytea
"""


def test_bodies_that_were_recorded_before_are_moved_to_their_weeks(empty_database_url: str, tmp_path: Path) -> None:
    for path in MIGRATIONS.glob("*.sql"):
        if path.name < MOVED:
            shutil.copy(path, tmp_path)
    migrate(empty_database_url, tmp_path)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(OLD)
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute(NEW).fetchone() == (10, 10, 0)


@pytest.fixture(scope="module")
def grown(module_database: Database) -> Database:
    events = workload.native(3_000)
    for begin in range(0, len(events), 500):
        record_native(module_database, "dev", events[begin : begin + 500], NOTHING)
    with module_database.transaction() as connection:
        connection.execute("analyze")
    return module_database


def test_a_page_of_bodies_reads_itself(grown: Database) -> None:
    with grown.transaction() as connection:
        query = READ.replace("%s", "%(environment)s", 1).replace("%s", "%(after)s", 1).replace("%s", "%(most)s", 1)
        read = rows_read(connection, query, {"environment": 1, "after": 1_000, "most": 100})
    assert sum(read.values()) <= 100


def test_a_page_of_runs_reads_itself(grown: Database) -> None:
    with grown.transaction() as connection:
        read = rows_read(connection, rebuilt.RUNS, {"environment": 1, "task": -(2**63), "run": "", "most": 50})
    assert 0 < sum(read.values()) <= 500
