"""The plans of manifests: an increment reads the chunks that it speaks of, a page the ones that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from dataforge.storage import shard
from dataforge.storage.database import Database
from tests.storage.plan import rows_read

# Twenty tasks with fifty runs each, every run of fifty chunks; one chunk in ten has a shard that failed.
_FILL = """
insert into task (environment, id, namespace, name, seen) select 1, n, 'ns', 'task' || n, true
from generate_series(1, 20) n;
insert into shard_chunk (environment, task_id, run, first, succeeded, skipped, failed, pending, first_failed, hash,
    content)
select 1, n, 'r' || r, case c when 0 then '' else 'k' || lpad(c::text, 2, '0') end, 2000, 0, (c % 10 = 5)::int, 0,
    case when c % 10 = 5 then 'k' || lpad(c::text, 2, '0') || 'x' end, decode(md5(n || '/' || r || '/' || c), 'hex'), ''
from generate_series(1, 20) n, generate_series(1, 50) r, generate_series(0, 49) c;
analyze task, shard_chunk;
"""


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A ledger large enough that a bad plan is a dear one."""
    with database.transaction() as connection:
        connection.execute(_FILL)
        yield connection


def _read(connection: psycopg.Connection[Any], query: str, **given: Any) -> int:
    return rows_read(connection, query, {"environment": 1, **given})["shard_chunk"]


def test_an_increment_reads_the_chunks_that_it_speaks_of(connection: psycopg.Connection[Any]) -> None:
    assert _read(connection, shard.FIRSTS, tasks=[7], runs=["r3"]) == 50
    assert _read(connection, shard.CONTENTS, tasks=[7, 7], runs=["r3", "r3"], firsts=["", "k07"]) == 2


def test_a_run_is_counted_by_its_own_chunks(connection: psycopg.Connection[Any]) -> None:
    assert _read(connection, shard.TALLY, tasks=[7, 8], runs=["r3", "r4"]) == 100
    assert _read(connection, shard.RUNS, tasks=[7]) == 50 * 50


def test_a_page_begins_at_its_chunk_and_passes_over_those_without_the_state(
    connection: psycopg.Connection[Any],
) -> None:
    page = {"task": 7, "run": "r3", "after": "k20z", "behind": False, "limit": 8}
    assert _read(connection, shard.PAGE, **page, state=None) <= 8 + 1
    assert _read(connection, shard.PAGE, **page, state="failed") <= 30 + 1
