"""The plans of the lists: every page reads a range of an index, and no more of it than it may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from msgspec.structs import asdict

from dataforge.model.edge_item import EdgeFilter
from dataforge.model.filter import DatasetFilter, PartitionFilter, RejectFilter, RunFilter, TaskFilter
from dataforge.model.listing import MOST_EXAMINED
from dataforge.storage import (
    attempt_list,
    dataset_list,
    edge_list,
    partition_list,
    reject_list,
    run_list,
    run_window,
    task_list,
)
from dataforge.storage.database import Database
from tests.storage.plan import rows_read

pytestmark = pytest.mark.xdist_group("list-plans")  # in one process, which makes once what they share

_RUNS = 30_000
_FILL = """
insert into task (environment, id, namespace, name, seen)
select 1, n, 'ns', 'task' || n, true from generate_series(1, 500) n;
insert into dataset (environment, id, namespace, name, canonical_id)
select 1, n, 'ns', 'dataset' || n, n from generate_series(1, 12000) n;
insert into run (environment, task_id, run, kind, group_run, map_index, state, evidence, attempt, partitions,
    started_at, source)
select 1, 1 + n % 500, 'r' || n, 'task', 'r' || n, -1, 'succeeded', 'reported', 1, '{}',
    case when n % 10 > 0 then timestamptz '2026-01-01' + n * interval '1 minute' end, '{}'
from generate_series(1, 30000) n;
insert into partition_state (environment, node_kind, node_id, partition, status, run_state, evidence, task_id, run)
select 1, 'task', 1 + n % 500, 'p' || n, 'failed', 'failed', 'reported', 1 + n % 500, 'r' || n
from generate_series(1, 30000) n;
insert into reject (environment, id, body, size, errors, received_at)
select 1, decode(md5(n::text), 'hex'), '', 0, '[{}]', timestamptz '2026-01-01' + n * interval '1 minute'
from generate_series(1, 20000) n;
insert into definition_span (environment, node_kind, node_id, source, valid_from, valid_to, version)
select 1, 'task', 1 + n % 500, 's', timestamptz '2025-01-01' + n * interval '1 minute',
    timestamptz '2025-01-01' + (n + 500) * interval '1 minute', decode(md5(n::text), 'hex')
from generate_series(1, 20000) n;
insert into edge (environment, task_id, relation, node_kind, node_id, origin, source, first_at, last_at)
select 1, 1 + n % 500, 'consumes', 'dataset', n, 'observed', '', '2026-01-01', '2026-01-01'
from generate_series(1, 12000) n;
analyze task, dataset, run, partition_state, reject, definition_span, edge;
"""


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A ledger large enough that a bad plan is a dear one."""
    with module_database.transaction() as connection:
        connection.execute(_FILL)
        yield connection


@pytest.fixture
def connection(filled: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """The ledger as it was filled: what a test changes is undone."""
    with filled.transaction(force_rollback=True):
        yield filled


@pytest.mark.parametrize("query", [run_list.MATCHING, attempt_list.MATCHING])
@pytest.mark.parametrize("start", ["2026-01-10T00:00:00Z", None])
def test_a_page_of_runs_reads_little_more_than_it_shows(
    connection: psycopg.Connection[Any], query: str, start: str | None
) -> None:
    wanted = RunFilter(limit=100)
    after = run_window.Place(None, 250, "r100") if start is None else run_window.Place(_moment(start), 1, "r1")
    for cursor in (None, after):
        read = rows_read(connection, query, run_window.parameters(1, wanted, None, cursor))
        assert read["run"] <= 2 * 102


@pytest.mark.parametrize("query", [run_list.MATCHING, attempt_list.MATCHING])
def test_a_filtered_page_of_runs_stops_where_it_has_read_enough(
    connection: psycopg.Connection[Any], query: str
) -> None:
    read = rows_read(connection, query, run_window.parameters(1, RunFilter(owner="nobody"), None, None))
    assert read["run"] <= 2 * MOST_EXAMINED


def test_a_page_of_one_tasks_runs_reads_no_others(connection: psycopg.Connection[Any]) -> None:
    read = rows_read(connection, run_list.MATCHING, run_window.parameters(1, RunFilter(limit=10), 7, None))
    assert read["run"] <= 2 * _RUNS // 500


_SOME = list(range(1, 101))  # of the 500 tasks, each of which has 60 runs and partitions and 24 edges


@pytest.mark.parametrize("start", ["2026-01-10T00:00:00Z", None])
def test_pages_of_the_runs_of_many_tasks_read_little_more_than_they_show(
    connection: psycopg.Connection[Any], start: str | None
) -> None:
    after = run_window.Place(None if start is None else _moment(start), 50, "r1")
    for cursor in (None, after):
        given = run_window.parameters(1, RunFilter(limit=10), 1, cursor, share=len(_SOME)) | {"tasks": _SOME}
        assert rows_read(connection, run_list.MATCHING_OF_EACH, given)["run"] <= 2 * 12 * len(_SOME)


def test_what_a_filter_reads_is_shared_among_many_tasks(connection: psycopg.Connection[Any]) -> None:
    runs = run_window.parameters(1, RunFilter(limit=10, owner="nobody"), 1, None, share=len(_SOME)) | {"tasks": _SOME}
    assert rows_read(connection, run_list.MATCHING_OF_EACH, runs)["run"] <= 2 * MOST_EXAMINED
    wanted = PartitionFilter(limit=10, owner="nobody")
    assert _partitions_read(connection, wanted, None) <= MOST_EXAMINED


def test_pages_of_the_partitions_of_many_tasks_read_little_more_than_they_show(
    connection: psycopg.Connection[Any],
) -> None:
    for after in (None, partition_list.PartitionPlace("task", 50, "p1")):
        assert _partitions_read(connection, PartitionFilter(limit=10), after) <= 11 * len(_SOME)


def _partitions_read(
    connection: psycopg.Connection[Any], wanted: PartitionFilter, after: partition_list.PartitionPlace | None
) -> int:
    connection.execute(partition_list.IN_ORDER)
    nodes = {"kinds": ["task"] * len(_SOME), "nodes": _SOME}
    given = partition_list.parameters(1, wanted, after, len(_SOME)) | nodes
    return rows_read(connection, partition_list.MATCHING_OF_EACH, given)["partition_state"]


def test_pages_of_the_edges_of_many_tasks_read_little_more_than_they_show(connection: psycopg.Connection[Any]) -> None:
    for after in (None, edge_list.EdgePlace("dataset", 6_000, "observed", "")):
        given = edge_list.parameters(1, EdgeFilter(limit=5), after) | {"tasks": _SOME}
        read = rows_read(connection, edge_list.LOAD, given)
        assert read["edge"] <= 6 * len(_SOME)
        assert read["dataset"] <= 2 * 6 * len(_SOME)


def test_the_version_of_a_run_is_read_from_its_own_tasks_alone(connection: psycopg.Connection[Any]) -> None:
    numbers = range(5, 25)
    given = {"environment": 1, "tasks": [1 + n % 500 for n in numbers], "runs": [f"r{n}" for n in numbers]}
    read = rows_read(connection, run_list.LOAD, given)
    assert read["definition_span"] <= 20_000 // 500 * len(numbers)
    assert read["run"] <= len(numbers)


def test_a_page_of_partitions_reads_little_more_than_it_shows(connection: psycopg.Connection[Any]) -> None:
    connection.execute(partition_list.IN_ORDER)
    after = {"after_kind": None, "after_node": None, "after_partition": None}
    given = {**asdict(PartitionFilter(limit=100)), "environment": 1, "node": None, **after, "most": 101, "states": None}
    assert rows_read(connection, partition_list.MATCHING, given)["partition_state"] <= 101
    one = {**given, "kind": "task", "node": 7, "states": ["ready"], "most": MOST_EXAMINED}
    assert rows_read(connection, partition_list.MATCHING, one)["partition_state"] <= _RUNS // 500
    behind = {**given, "after_kind": "task", "after_node": 250, "after_partition": "p1"}
    assert rows_read(connection, partition_list.MATCHING, behind)["partition_state"] <= 101


def test_a_page_of_tasks_or_datasets_reads_a_bounded_range(connection: psycopg.Connection[Any]) -> None:
    place = {"environment": 1, "after_namespace": "", "after_name": "", "most": MOST_EXAMINED}
    tasks = rows_read(connection, task_list.MATCHING, {**asdict(TaskFilter()), **place, "kind": "task"})
    assert tasks["task"] <= MOST_EXAMINED
    datasets = rows_read(connection, dataset_list.MATCHING, {**asdict(DatasetFilter()), **place})
    assert datasets["dataset"] <= MOST_EXAMINED
    none = rows_read(connection, dataset_list.MATCHING, {**asdict(DatasetFilter(namespace="other")), **place})
    assert none["dataset"] == 0


def test_a_page_of_rejects_reads_little_more_than_it_shows(connection: psycopg.Connection[Any]) -> None:
    given = {**asdict(RejectFilter(limit=100)), "environment": 1, "after_time": None, "after_id": None}
    assert rows_read(connection, reject_list.MATCHING, given)["reject"] <= 101
    behind = {**given, "after_time": _moment("2026-01-03T00:00:00Z"), "after_id": b"\0" * 16}
    assert rows_read(connection, reject_list.MATCHING, behind)["reject"] <= 102


def _moment(text: str) -> Any:
    from dataforge.model.filter import moment

    return moment(text)
