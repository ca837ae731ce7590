"""A part of the state, a domain or some days, is rebuilt from what it follows from, and nothing else is touched."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dataforge.cli.example import load
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import checkpoint, replay, verify
from dataforge.ledger.checkpoint import Shelf
from dataforge.ledger.declare import declare
from dataforge.ledger.scope import Part
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.errors import InvalidInput
from dataforge.storage.database import Database
from dataforge.storage.signing_key import signing_key

pytestmark = pytest.mark.xdist_group("replay-part")  # in one process, which makes once what they share

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"
FIFTH = datetime(2026, 11, 5, tzinfo=UTC)
DAYS = Part(since=FIFTH, until=FIFTH + timedelta(days=2))


@pytest.fixture(scope="module")
def shop(module_database: Database) -> Database:
    """The shop, for tests that leave it as it is, as verifying does."""
    load(module_database.url, "dev")
    return module_database


@pytest.fixture
def own_shop(database: Database) -> Database:
    load(database.url, "dev")
    return database


def damage(database: Database, statement: str) -> None:
    with database.transaction() as connection:
        assert connection.execute(statement.encode()).rowcount > 0


@pytest.mark.parametrize("capture", ["airflow", "dbt", "spark"])
def test_every_third_of_every_capture_is_valid(database: Database, capture: str) -> None:
    record_openlineage(database, "dev", (CAPTURES / capture / "events.jsonl").read_bytes().splitlines(), NOTHING)
    with database.transaction() as connection:
        row = connection.execute(
            "select min(started_at), (max(started_at) - min(started_at)) / 3 + interval '1 ms' from run"
        ).fetchone()
    assert row is not None
    compared = 0
    for third in range(3):
        since = row[0] + row[1] * third
        found = verify(database, "dev", part=Part(since=since, until=since + row[1]))
        assert found.found.first == ()
        assert found.compared is not None
        compared += found.compared.runs
    assert compared > 0


@pytest.mark.parametrize("part", [DAYS, Part(domain="sales"), Part(domain="payments", since=FIFTH)])
@pytest.mark.parametrize("kept", [False, True], ids=["from-the-start", "from-a-checkpoint"])
def test_a_part_of_the_shop_is_valid(shop: Database, tmp_path: Path, part: Part, kept: bool) -> None:
    key = signing_key(tmp_path / "keys")
    shelf = Shelf(tmp_path, "dev", key.public)
    if kept:
        checkpoint(shop, "dev", shelf, key, FIFTH)
    found = verify(shop, "dev", part=part, shelf=shelf)
    assert found.found.first == ()
    assert (found.checkpoint is not None) == kept
    assert found.compared is not None
    assert found.compared.runs > 0
    assert found.compared.partitions > 0


def test_only_the_part_is_compared_and_mended(own_shop: Database) -> None:
    right = digest(own_shop, "dev")
    damage(
        own_shop,
        """
        update partition_state s set version = 'x' from run r
        where r.environment = s.environment and r.task_id = s.task_id and r.run = s.run and s.node_kind = 'task'
            and r.started_at >= '2026-11-05' and r.started_at < '2026-11-07'
        """,
    )
    damage(own_shop, "update run set error = 'x' where started_at >= '2026-11-09' and started_at < '2026-11-10'")
    found = verify(own_shop, "dev", part=DAYS)
    assert found.found.counts.keys() == {"partition_state"}
    assert replay(own_shop, "dev", part=DAYS).found == found.found
    assert verify(own_shop, "dev").found.counts.keys() == {"run"}
    replay(own_shop, "dev")
    assert digest(own_shop, "dev") == right


def test_a_run_that_the_live_state_has_lost_is_found_by_its_day(own_shop: Database) -> None:
    with own_shop.transaction() as connection:
        row = connection.execute(
            "select task_id, run from run where kind = 'task' and started_at >= %s order by started_at limit 1", [FIFTH]
        ).fetchone()
        assert row is not None
        for table in ("touch", "attempt", "write", "run"):
            connection.execute(f"delete from {table} where task_id = %s and run = %s".encode(), row)
    found = verify(own_shop, "dev", part=DAYS)
    assert found.found.counts.keys() >= {"attempt", "run"}
    assert found.found.counts["run"].lacking == 1


def test_a_domain_is_compared_with_its_tasks_and_edges(own_shop: Database) -> None:
    damage(own_shop, "update task set owner = 'x'")
    damage(own_shop, "delete from edge where relation = 'produces'")
    found = verify(own_shop, "dev", part=Part(domain="payments")).found
    assert found.counts.keys() == {"task", "edge"}
    assert {each.row.get("id") or each.row["task_id"] for each in found.first} == {
        "shop-airflow/shop_daily.load_payments"
    }


def test_names_that_a_file_has_to_escape_are_found_in_a_checkpoint(database: Database, tmp_path: Path) -> None:
    run = "back\\slash \\t"
    event = {"task": {"namespace": "n", "name": "t"}, "run": run, "time": FIFTH.isoformat(), "state": "running"}
    assert record_native(database, "dev", [event], NOTHING).applied == 1
    key = signing_key(tmp_path / "keys")
    shelf = Shelf(tmp_path, "dev", key.public)
    checkpoint(database, "dev", shelf, key, FIFTH)
    found = verify(database, "dev", part=DAYS, shelf=shelf)
    assert (found.found.first, found.events) == ((), 0)
    assert found.compared is not None
    assert found.compared.runs == 1


def test_a_domain_that_nobody_has_is_refused(shop: Database) -> None:
    with pytest.raises(InvalidInput, match="no task is of the domain 'nonsense'"):
        verify(shop, "dev", part=Part(domain="nonsense"))


@pytest.mark.parametrize("part", [Part(domain="sales"), Part(since=FIFTH, until=FIFTH + timedelta(hours=1))])
def test_what_others_refused_of_a_part_and_what_people_marked_belongs_to_it(database: Database, part: Part) -> None:
    tasks = [{"namespace": "ns", "name": "load", "domain": "sales"}, {"namespace": "ns", "name": "check"}]
    declare(database, "dev", definition.parse({"source": "s", "tasks": tasks}))
    orders = {"namespace": "s3://lake", "name": "orders", "partition": "d"}

    def said(name: str, hour: int, state: str, **more: Any) -> bytes:
        about = {"time": (FIFTH + timedelta(hours=hour)).isoformat(), "task": {"namespace": "ns", "name": name}}
        return json.dumps({**about, "partition": "d", "state": state, **more}).encode()

    refused = orders | {"checks": [{"name": "rows", "success": False}]}
    events = [
        said("load", 0, "running"),
        said("load", 1, "failed", outputs=[orders]),
        said("load", 2, "succeeded", control="mark", by="anna", reason="r"),
        said("check", 3, "running"),
        said("check", 4, "failed", inputs=[refused]),
    ]
    assert record_native(database, "dev", events, NOTHING).rejected == []
    found = verify(database, "dev", part=part)
    assert found.found.first == ()
    assert found.compared is not None
    assert found.compared.partitions == 2
