"""The database itself refuses states that must not be, whoever writes them."""

from typing import LiteralString

import psycopg
import pytest

from dataforge.cli.example import load
from dataforge.storage.database import Database

ILLEGAL: dict[str, LiteralString] = {
    "an event is edited": "update event set recorded_at = now()",
    "a body is edited": "update event_body set body = 'x'",
    "an event of the year 9999": "insert into event (environment, occurred_at, id)"
    " values (1, '9999-01-01', repeat('x', 16)::bytea)",
    "an event without a body": "insert into event_body (environment, number, occurred_at, id, kind, body)"
    " values (1, 1, now(), repeat('x', 16)::bytea, 'run', '')",
    "a task version is edited": "update task_version set definition = '{}'",
    "a task version is deleted": "delete from task_version",
    "a declaration is edited": "update declaration set valid_from = valid_from - interval '1 day'",
    "a declaration is taken back": "delete from declaration",
    "a manifest is edited": "update manifest set content = '{}'",
    "a declaration of what is to come": "insert into declaration select environment, source,"
    " received_at + interval '1 day', received_at, manifest, true from declaration",
    "a declaration that holds from before its receipt and does not say so": "insert into declaration"
    " select environment, source, received_at - interval '1 day', received_at, manifest, false from declaration",
    "a version that ends before it begins": "update definition_span set valid_to = valid_from - interval '1 day'",
    "a dataset's version is edited": "update dataset_version set definition = '{}'",
    "an edge of a version is taken away": "delete from version_edge",
    "a version declares a task that a task runs": "insert into version_edge"
    " select environment, task_id, version, 'runs', 'task', '{1}' from task_version",
    "an edge of a task nobody named": "insert into edge (environment, task_id, relation, node_kind, node_id, origin,"
    " source) select 1, 1, 'produces', 'dataset', 1, 'declared', 'nobody'",
    "an edge that goes to another task": "update edge set task_id = (select max(id) from task)",
    "a task that goes before its edges": "delete from task where id in (select task_id from edge)",
    "a definition without its version": "update task set version = null where version is not null",
    "a task declared by nobody known": "update task set declared_by = 'nobody' where declared_by is not null",
    "ready without a run that made it ready": "update partition_state set ready_run = null, ready_task_id = null"
    " where status = 'ready'",
    "ready, and failed": "update partition_state set run_state = 'failed' where status = 'ready'",
    "a claim that is ready, and failed": "update write set run_state = 'failed' where status = 'ready'",
    "the events are emptied": "truncate event cascade",
    "the versions are emptied": "truncate task_version cascade",
    "a run's interval ends before it begins": "update run set interval_end = interval_start - interval '1 day'"
    " where interval_start is not null",
    "an attempt's interval ends before it begins": "update attempt set interval_end = interval_start - interval '1 day'"
    " where interval_start is not null",
    "a map index that can be none": "update run set map_index = -7",
    "fewer rows than none": "update touch set rows = -1",
    "a touch last seen before it was first": "update touch set last_at = first_at - interval '1 day'",
    "a mapping that is none": "update edge set mapping = '[]'",
    "a partitioning that is none": "update task set partitioning = '[]'",
    "a task produces a task": "update edge set node_kind = 'task' where relation = 'produces'",
    "an observed edge of a source": "update edge set source = 'somebody' where origin = 'observed'",
    "an edge last seen before it was first": "update edge set last_at = first_at - interval '1 day'"
    " where origin = 'observed'",
    "an alias of itself": "update alias set alias_id = dataset_id",
    "an attempt of a task nobody named": "update attempt set task_id = 1",
    "half a data interval": "update run set interval_end = null where interval_start is not null",
    "a negative attempt": "update run set attempt = -1",
    "an environment with a name that no URL has": "insert into environment (name) values ('Prod!')",
    "a reject without a reason": "insert into reject (environment, id, body, size, errors)"
    " values (1, repeat('x', 16)::bytea, 'x', 1, '[]')",
    "two names with one id": "insert into task (environment, id, namespace, name)"
    " select environment, id, 'a', 'b' from task",
    "one name with two ids": "insert into task (environment, id, namespace, name)"
    " select environment, id + 1, namespace, name from task",
}


@pytest.fixture(scope="module")
def filled(module_database: Database) -> Database:
    load(module_database.url, "dev")
    return module_database


@pytest.mark.parametrize("name", ILLEGAL)
def test_an_illegal_state_is_refused(filled: Database, name: str) -> None:
    with pytest.raises(psycopg.errors.IntegrityError), filled.transaction() as connection:
        touched = connection.execute(ILLEGAL[name]).rowcount
        assert touched > 0, "the example has nothing that this could be tried on"
