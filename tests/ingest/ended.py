"""Ending runs at any moment, and which ones have ended then, in plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from psycopg import Connection

from benchmarks.scratch import new_database
from dataforge.ledger.export import end
from dataforge.ledger.run_end import RUNS
from dataforge.storage import environment as environments
from dataforge.storage import run_part
from dataforge.storage.archive import Archive
from dataforge.storage.database import Database

Group = tuple[int, str]  # a task, and its run without the map index
OPEN = ("unknown", "queued", "running", "up_for_retry")
FAR = datetime.max.replace(tzinfo=UTC)  # of what has no time at all
ASKED_FOR = ("manual__", "scheduled__", "backfill__")


def end_at(database: Database, known_from: datetime, archive: Archive | None = None) -> None:
    """Ends the runs of all environments that had their last word before this, wherever in their part that is."""
    with database.transaction() as connection:
        environments.lock_all(connection)
        last = run_part.parts(connection)[-1].ends
        assert last is not None
        connection.execute("select premake_run_parts(%s)", [last])
        part, following = run_part.parts(connection)[:2]
        run_part.detach(connection, msgspec.structs.replace(part, ends=known_from), following)
    end(database, archive, RUNS)


def ended(connection: Connection[Any], environment: int, known_from: datetime) -> set[Group]:
    """Which runs of an environment have ended at a moment."""
    told = _rows(connection, environment, "attempt")
    said = _rows(connection, environment, "outcome")
    runs = _rows(connection, environment, "run", "task_id, run, group_run, state, source, started_at, ended_at")
    marked = {(mark["task_id"], mark["run"]) for mark in _rows(connection, environment, "mark")}
    words: dict[Group, list[datetime]] = {_group(each): [] for each in (*told, *said, *runs)}
    for each in told:
        words[_group(each)].append(each["heard_at"] or each["said_at"])
    for each in said:
        words[_group(each)] += [each["at"], each["incarnation"]]
    staying = {group for group, at in words.items() if max(at, default=known_from) >= known_from}
    staying |= {_group(each) for each in told if (each["task_id"], each["run"]) in marked}
    staying |= {group for group in words if group in marked}
    staying |= {_group(each) for each in runs if each["state"] in OPEN} | _last(runs)
    states = _rows(connection, environment, "partition_state_rest")
    named = {(each[f"{of}task_id"], each[f"{of}run"]) for each in states for of in ("", "ready_")}
    staying |= named | {_group(each) for each in runs if (each["task_id"], each["run"]) in named}
    while True:
        above = {
            (each[f"{way}_task_id"], each[f"{way}_run"])
            for each in told
            for way in ("parent", "root")
            if _group(each) in staying
        }
        those = {(each["task_id"], each["external_run"]) for each in told if _group(each) in staying}
        more = {_group(each) for each in told if (each["task_id"], each["external_run"]) in above}
        more |= {_group(each) for each in told if each["kind"] == "step" and _parent(each) in those}
        more -= staying
        if not more:
            return words.keys() - staying
        staying |= more


def _last(runs: list[dict[str, Any]]) -> set[Group]:
    """The last of each task in each state, those that Airflow was asked for apart; and those that never began."""
    found: dict[tuple[Any, ...], tuple[tuple[datetime, str], dict[str, Any]]] = {}
    for each in runs:
        began, asked_for = each["started_at"], str(each["source"].get("run_id") or "").startswith(ASKED_FOR)
        kind = (each["task_id"], each["state"], asked_for, began is None)
        place = (began or each["ended_at"] or FAR, each["run"])
        if kind not in found or place > found[kind][0]:
            found[kind] = place, each
    return {_group(each) for _, each in found.values()}


def _parent(row: dict[str, Any]) -> tuple[int, str]:
    return row["parent_task_id"], row["parent_run"]


def _group(row: dict[str, Any]) -> Group:
    return row["task_id"], row["group_run"]


def _rows(connection: Connection[Any], environment: int, table: str, columns: str = "*") -> list[dict[str, Any]]:
    cursor = connection.execute(f"select {columns} from {table} where environment = {environment}".encode())
    names = [each.name for each in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


CUT = """
do $$
declare
    of text;
    was constant text := run_part_name('', (select max(last_part) from environment));
    first constant integer := run_part_of('{since}');
    part text;
    index text;
begin
    foreach of in array array['run', 'attempt', 'touch', 'outcome', 'shard_chunk'] loop
        part := run_part_name(of, first);
        execute format('alter table %I detach partition %I', of, of || was);
        execute format('alter table %I rename to %I', of || was, part);
        for index in select indexrelid::regclass from pg_index where indrelid = part::regclass loop
            execute format('alter index %I rename to %I', index, replace(index, of || was, part));
        end loop;
        execute format('alter table %I drop constraint %I', part, of || '_is_of_its_part');
        execute format('alter table %I add constraint %I check (part < %s)', part, of || '_is_of_its_part', first + 1);
        execute format('alter table %I attach partition %I for values from (minvalue) to (%s)', of, part, first + 1);
    end loop;
    update environment set last_part = first;
    for each in first + 1 .. run_part_of('{until}') loop
        perform premake_run_parts(make_date(each / 2, case each % 2 when 0 then 1 else 7 end, 2));
    end loop;
end
$$
"""


def cut(database: Database, since: datetime, until: datetime) -> None:
    """Makes an empty database one that has been there for some half-years."""
    with database.transaction() as connection:
        connection.execute(CUT.format(since=since.isoformat(), until=until.isoformat()).encode())


@contextmanager
def fresh(server: str, template: str) -> Iterator[Database]:
    """A database in which nothing was recorded, for as long as the block."""
    with new_database(server, template) as url:
        database = Database(url, max_size=3)
        yield database
        database.close()
