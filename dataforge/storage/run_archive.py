"""Runs as the files of the archive have them, read through DuckDB.

Guarantees that a page reads the months it asks for alone, and that a run which several files hold is found once: as the
file has it that knows most of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import duckdb
import msgspec
from psycopg import Connection

from dataforge.model.filter import RunFilter
from dataforge.storage.archive import Archive
from dataforge.storage.attempt import RunKey
from dataforge.storage.record_set import keys
from dataforge.storage.run_file import KeptRun
from dataforge.storage.run_month import month_of
from dataforge.storage.run_window import Place

_NAME = re.compile(r"(\d{4})-(\d{2})-[0-9a-f]{16}\.parquet")


class ArchivedRun(msgspec.Struct, frozen=True):
    """A run, and the file that holds it."""

    run: KeptRun
    file: str


def files(archive: Archive, environment: str, wanted: RunFilter) -> list[str]:
    """The files of the months between the bounds that are asked for."""
    folder = f"{environment}/runs"
    return [f"{folder}/{name}" for name in archive.names(folder) if _meets(name, wanted)]


def _meets(name: str, wanted: RunFilter) -> bool:
    read = _NAME.fullmatch(name)
    if read is None:
        return False
    begins, ends = month_of(datetime.fromisoformat(f"{read[1]}-{read[2]}-01T00:00:00+00:00"))
    return (wanted.since is None or ends > wanted.since) and (wanted.until is None or begins < wanted.until)


FOUND = """
select * from (
    select * from ({}) each
    where (started_at >= $since or $since is null) and (started_at < $until or $until is null)
        and (kind = $kind or $kind is null) and (state = $state or $state is null)
        and (namespace = $namespace or $namespace is null) and (name = $name or $name is null)
        and (owner = $owner or $owner is null) and (platform = $platform or $platform is null)
        and (list_contains(partitions, $partition) or $partition is null)
    qualify row_number() over (partition by task_id, run order by attempt desc, took desc nulls last, file) = 1
)
where $after is null or started_at < $after or (started_at = $after and (task_id, run) > ($after_task, $after_run))
order by started_at desc, task_id, run limit $limit
"""
EACH = "select *, '{}' as file from file_{}"  # the name of a file has no quote in it: `_NAME`


class Reading:
    """Files that are open, and what is asked of them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, among: Sequence[str], wanted: RunFilter) -> None:
        self._connection = connection
        self._statement = FOUND.format(" union all ".join(EACH.format(file, n) for n, file in enumerate(among)))
        self._wanted = wanted if among else None

    def page(self, after: Place | None, most: int) -> list[ArchivedRun]:
        """The runs behind `after`, at most `most` of them, the latest start first."""
        if self._wanted is None or (after is not None and after.started_at is None):  # all in a file have started
            return []
        given = _given(self._wanted, after, most)
        rows = self._connection.execute(self._statement, given).to_arrow_table().to_pylist()
        return [ArchivedRun(KeptRun(**row), file) for row in rows for file in [row.pop("file")]]


@contextmanager
def opened(archive: Archive, among: Sequence[str], wanted: RunFilter) -> Iterator[Reading]:
    """Files, to be read a page at a time: what of them is needed for that."""
    with duckdb.connect() as connection:
        for number, file in enumerate(among):
            connection.register(f"file_{number}", archive.dataset(file))
        yield Reading(connection, among, wanted)


def _given(wanted: RunFilter, after: Place | None, most: int) -> dict[str, Any]:
    return {
        "since": wanted.since,
        "until": wanted.until,
        "kind": wanted.kind or ("task" if wanted.name is None else None),
        "state": wanted.state,
        "namespace": wanted.namespace,
        "name": wanted.name,
        "owner": wanted.owner,
        "platform": wanted.platform,
        "partition": wanted.partition,
        "after": after and after.started_at,
        "after_task": after and after.task_id,
        "after_run": after and after.run,
        "limit": most,
    }


OWN = "select file from archived where environment = %s"


def own(connection: Connection, environment: int) -> set[str]:
    """The files that this database wrote, whose runs it has itself."""
    return {file for (file,) in connection.execute(OWN, [environment])}


KNOWN = """
select r.task_id, r.run from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as asked (task_id, run)
join run r on r.environment = %(environment)s and r.task_id = asked.task_id and r.run = asked.run
"""


def in_database(connection: Connection, environment: int, runs: Sequence[RunKey]) -> set[RunKey]:
    """Those of these runs that the database has."""
    rows = connection.execute(KNOWN, {"environment": environment, **keys(runs)})
    return {(row[0], row[1]) for row in rows}
