"""The live state is what its recorded events and definitions give; a state that is not is found out, and mended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import workload
from dataforge.cli.example import load
from dataforge.ingest import rebuild
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING, Redaction, Rule
from dataforge.ingest.replay import replay, verify
from dataforge.ledger.change import NOW, changes
from dataforge.ledger.declare import declare
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.errors import Conflict
from dataforge.storage.database import Connection, Database
from dataforge.storage.rebuilt import NOT_STATE, STATE, hidden

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"


@pytest.mark.parametrize("capture", ["airflow", "dbt", "spark"])
def test_every_capture_is_valid(database: Database, capture: str) -> None:
    bodies = (CAPTURES / capture / "events.jsonl").read_bytes().splitlines()
    assert record_openlineage(database, "dev", bodies, NOTHING).applied == len(bodies)
    found = verify(database, "dev")
    assert (found.difference, found.events) == (None, len(bodies))


def test_redacted_events_are_valid(database: Database) -> None:
    bodies = (CAPTURES / "airflow" / "events.jsonl").read_bytes().splitlines()
    rules = Redaction((Rule("run.facets.errorMessage", "drop"), Rule("job.facets.sourceCode.*", "hash")))
    assert record_openlineage(database, "dev", bodies, rules).applied == 70
    assert verify(database, "dev").difference is None


def test_a_tampered_state_is_found(database: Database) -> None:
    load(database.url, "dev")
    with database.transaction() as connection:
        connection.execute("update partition_state set status = 'failed' where status = 'ready' and partition <> ''")
    found = verify(database, "dev").found
    assert found.counts.keys() == {"partition_state"}
    assert {(each.live or {})["status"] for each in found.first} == {"failed"}
    assert {(each.rebuilt or {})["status"] for each in found.first} == {"ready"}


def test_an_edge_that_no_definition_has_is_found_in_the_version_that_it_was_added_to(database: Database) -> None:
    task = {"namespace": "ns", "name": "report", "consumes": [{"dataset": {"namespace": "lake", "name": "orders"}}]}
    for owner in ("anna", "ben"):  # the version before does not stand any more
        declare(database, "dev", definition.parse({"source": "s", "tasks": [{**task, "owner": owner}]}))
    before = digest(database, "dev")
    assert verify(database, "dev").found.agrees
    with database.transaction() as connection:
        connection.execute(
            """
            insert into version_edge (environment, task_id, version, relation, node_kind, nodes)
            select environment, task_id, version, 'consumes', 'task', array[task_id] from version_edge
            """
        )
    found = verify(database, "dev").found
    assert {table: count.extra for table, count in found.counts.items()} == {"version_edge": 2}
    assert digest(database, "dev") != before


def test_verifying_leaves_nothing_behind(database: Database) -> None:
    load(database.url, "dev")
    verify(database, "dev")
    with database.transaction() as connection:
        names = [name for (name,) in connection.execute("select name from environment order by id")]
    assert names == ["dev", "staging", "prod"]
    assert _hidden_rows(database) == 0


def test_a_retired_definition_leaves_nothing_of_itself(database: Database) -> None:
    load(database.url, "dev")
    before = digest(database, "dev")
    said = {"platform": "other", "owner": "x", "domain": "y"}
    task = {"namespace": "shop-airflow", "name": "shop_daily", **said}
    declare(database, "dev", definition.parse({"source": "brief", "tasks": [task]}))
    assert digest(database, "dev") != before
    declare(database, "dev", definition.parse({"source": "brief", "tasks": []}))
    assert digest(database, "dev") == before
    assert verify(database, "dev").difference is None


DAMAGE = (
    "delete from touch where direction = 'input'",
    "update attempt set said_state = 'failed', number = 7 where platform = 'airflow'",
    "delete from partition_state where node_kind = 'task'",
    "update partition_state set version = 'nonsense' where node_kind = 'dataset'",
    "delete from write where node_kind = 'dataset'",
    "delete from edge where relation = 'produces'",
    "update task set observed = '{}', grains = 1, owner = 'nobody'",
    "update dataset set canonical_id = id",
    "delete from alias",
    "update run set error = 'nonsense'",
    "update progress set observed_through = observed_through + interval '1 day'",
    "insert into task (environment, id, namespace, name, seen) values (1, 1, 'made', 'up', true)",
    """
    insert into edge (environment, task_id, relation, node_kind, node_id, origin, source, first_at, last_at)
    values (1, 1, 'consumes', 'task', 2, 'observed', '', now(), now())
    """,
    """
    insert into partition_state
        (environment, node_kind, node_id, partition, status, run_state, evidence, task_id, run)
    values (1, 'task', 1, '2026-01-01', 'failed', 'failed', 'reported', 1, 'r')
    """,
)


def test_a_replay_mends_whatever_was_damaged_and_a_second_one_changes_nothing(database: Database) -> None:
    load(database.url, "dev")
    before = digest(database, "dev")
    with database.transaction() as connection:
        for statement in DAMAGE:
            connection.execute(statement.encode())
    assert digest(database, "dev") != before
    found = verify(database, "dev").found
    replayed = replay(database, "dev").found
    assert replayed == found
    assert replayed.counts.keys() >= {"task", "edge", "attempt", "touch", "run", "write", "partition_state"}
    assert digest(database, "dev") == before
    assert verify(database, "dev").found.agrees
    assert replay(database, "dev").found.agrees


def test_the_feed_shows_exactly_what_a_replay_changed(database: Database) -> None:
    load(database.url, "dev")
    with database.transaction() as connection:
        damaged = connection.execute(
            "update partition_state set version = 'x' where node_kind = 'task' and partition = '2026-11-05' returning 1"
        ).rowcount
        connection.execute(
            """
            insert into partition_state select environment, node_kind, node_id, 'made up', 'failed', run_state,
                evidence, since, task_id, run from partition_state where node_kind = 'dataset' limit 1
            """
        )
    position = changes(database, "dev", NOW).position
    replay(database, "dev")
    shown = changes(database, "dev", position, 1_000).items
    assert len(shown) == damaged + 1
    assert [each.status.value for each in shown if each.partition == "made up"] == ["missing"]
    assert {each.partition for each in shown} == {"2026-11-05", "made up"}


def test_what_is_recorded_and_declared_while_events_are_read_again_is_in_the_replayed_state(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "PAGE", 50)
    events = workload.native(300)
    record_native(database, "dev", events[:200], NOTHING)
    task = {"namespace": "n", "name": "t", "owner": "somebody"}

    def meanwhile(done: int, _total: int) -> None:
        if begin := min(done, 250):
            record_native(database, "dev", events[200 + begin // 2 : 225 + begin // 2], NOTHING)
        declare(database, "dev", definition.parse({"source": "s", "tasks": [{**task, "domain": f"d{done}"}]}))

    with database.transaction() as connection:
        connection.execute("delete from partition_state")
    assert "partition_state" in replay(database, "dev", meanwhile).found.counts
    assert verify(database, "dev").found.agrees
    assert replay(database, "dev").found.agrees


def test_what_a_killed_rebuild_left_is_removed_by_the_next_one(database: Database) -> None:
    load(database.url, "dev")
    with hidden(database, 1) as running:
        with database.transaction() as connection:
            connection.execute("insert into environment (id, name) overriding system value values (-5, 'rebuild-5')")
            connection.execute("insert into task (environment, id, namespace, name) values (-5, 1, 'left', 'behind')")
        verify(database, "dev")
        with database.transaction() as connection:
            assert connection.execute("select id from environment where id < 0").fetchall() == [(running,)]
    assert _hidden_rows(database) == 0


@pytest.mark.parametrize("use", [verify, replay])
def test_a_rebuilt_state_that_somebody_removed_is_neither_compared_nor_swapped_in(
    database: Database, use: Callable[..., object]
) -> None:
    record_native(database, "dev", workload.native(20), NOTHING)
    before = digest(database, "dev")

    def meanwhile(_done: int, _total: int) -> None:
        with database.transaction() as connection:
            connection.execute("update environment set name = 'removed' || id where id < 0")
            connection.execute("delete from partition_state where environment < 0")

    with pytest.raises(Conflict, match="the rebuilt state was removed"):
        use(database, "dev", meanwhile)
    assert digest(database, "dev") == before


def test_every_table_of_an_environment_is_either_rebuilt_or_named_as_what_is_not(database: Database) -> None:
    query = """
    select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'environment'
    where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace
    """
    with database.transaction() as connection:
        tables = {name for (name,) in connection.execute(query)}
    assert tables == {table.name for table in STATE} | set(NOT_STATE)


def _hidden_rows(database: Database) -> int:
    with database.transaction() as connection:
        return sum(_below(connection, table.name) for table in STATE)


def _below(connection: Connection, table: str) -> int:
    row = connection.execute(f"select count(*) from {table} where environment < 0".encode()).fetchone()
    return int(row[0]) if row else 0
