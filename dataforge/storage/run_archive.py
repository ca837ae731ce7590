"""Runs as the files of the archive have them, read through DuckDB.

Guarantees that a page reads no more months than it is filled by, and that a run which several files of a month hold is
found once: as the file has it that knows most of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import duckdb
import msgspec
from psycopg import Connection

from dataforge.model.filter import RunFilter
from dataforge.storage.archive import Archive
from dataforge.storage.attempt import RunKey
from dataforge.storage.part import month_of
from dataforge.storage.record_set import keys
from dataforge.storage.run_file import KeptRun
from dataforge.storage.run_window import Place

_NAME = re.compile(r"[12]\d{3}-(0[1-9]|1[0-2])-[0-9a-f]{16}\.parquet")


class ArchivedRun(msgspec.Struct, frozen=True):
    """A run, and the file that holds it."""

    run: KeptRun
    file: str


def files(archive: Archive, environment: str, wanted: RunFilter) -> list[str]:
    """The files of the months between the bounds that are asked for."""
    folder = f"{environment}/runs"
    return [f"{folder}/{name}" for name in archive.names(folder) if _meets(name, wanted)]


def _month(file: str) -> datetime:
    return datetime.strptime(file.rpartition("/")[2][:7], "%Y-%m").replace(tzinfo=UTC)


def _meets(name: str, wanted: RunFilter) -> bool:
    if _NAME.fullmatch(name) is None:
        return False
    begins, ends = month_of(_month(name))
    return (wanted.since is None or ends > wanted.since) and (wanted.until is None or begins < wanted.until)


# Of a run that several files hold one row is taken before it is asked how the run ended, or when.
FOUND = """
select * from (
    select * from ({}) each
    where started_at is not null and (kind = $kind or $kind is null)
        and (namespace = $namespace or $namespace is null) and (name = $name or $name is null)
    {}
)
where (started_at >= $since or $since is null) and (started_at < $until or $until is null)
    and (state = $state or $state is null) and (list_contains(partitions, $partition) or $partition is null)
    and (owner = $owner or $owner is null) and (platform = $platform or $platform is null)
    and ($after is null or started_at < $after or (started_at = $after and (task_id, run) > ($after_task, $after_run)))
order by started_at desc, task_id, run limit $limit
"""
EACH = "select *, '{}' as file from file_{}"  # the name of a file has no quote in it: `_NAME`
ONCE = "qualify row_number() over (partition by task_id, run order by attempt desc, took desc nulls last, file) = 1"


def find(
    archive: Archive, among: Sequence[str], wanted: RunFilter, after: Place | None, most: int
) -> list[ArchivedRun]:
    """The runs of these files behind `after`, at most `most` of them, the latest start first: a month at a time, and no
    more months than that takes."""
    if after is not None and after.started_at is None:  # all in a file have started
        return []
    found: list[ArchivedRun] = []
    for month, files in groupby(sorted(among, reverse=True), key=_month):
        if after is None or after.started_at is None or month <= after.started_at:
            found += _of_month(archive, list(files), _given(wanted, after, most - len(found)))
        if len(found) == most:
            break
    return found


def _of_month(archive: Archive, files: Sequence[str], given: dict[str, Any]) -> list[ArchivedRun]:
    with duckdb.connect() as connection:
        for number, file in enumerate(files):
            connection.register(f"file_{number}", archive.dataset(file))
        union = " union all ".join(EACH.format(file, number) for number, file in enumerate(files))
        statement = FOUND.format(union, ONCE if len(files) > 1 else "")
        rows = connection.execute(statement, given).to_arrow_table().to_pylist()
    return [ArchivedRun(KeptRun(**row), file) for row in rows for file in [row.pop("file")]]


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


KNOWN = """
select r.task_id, r.run from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as asked (task_id, run)
join run r on r.environment = %(environment)s and r.task_id = asked.task_id and r.run = asked.run
"""


def in_database(connection: Connection, environment: int, runs: Sequence[RunKey]) -> set[RunKey]:
    """Those of these runs that the database has."""
    rows = connection.execute(KNOWN, {"environment": environment, **keys(runs)})
    return {(row[0], row[1]) for row in rows}
