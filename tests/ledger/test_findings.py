"""Findings: what each of them says, and what on a real platform is none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dataforge.ingest.batch import record_any
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import finding_run
from dataforge.ledger.declare import declare
from dataforge.ledger.findings import findings
from dataforge.model import definition
from dataforge.model.errors import InvalidInput, NotFound
from dataforge.model.filter import FindingFilter
from dataforge.model.finding import Finding, FindingCode
from dataforge.storage.database import Database
from tests.ledger.freshness_events import DAY, Event, at, data, declared, raw, record, run

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SINCE = datetime(2026, 11, 1, tzinfo=UTC)
EARLY, CHANGED = "started_too_early", "input_changed"


def found(database: Database, **wanted: Any) -> list[Finding]:
    """Every finding about runs and edges; that the few events of a test come to an end is none."""
    items, cursor = [], None
    while True:
        asked = FindingFilter(since=wanted.pop("since", SINCE), cursor=cursor, **wanted)
        page = findings(database, "dev", asked, NOW)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return [item for item in items if item.code is not FindingCode.SOURCE_SILENT]


def shown(items: list[Finding]) -> list[tuple[str, str | None, str | None]]:
    return sorted((item.code.value, item.node.name if item.node else None, item.run) for item in items)


def lake(database: Database, **edge: Any) -> None:
    """clean makes orders of raw, which extract writes; report makes sales of orders."""
    declared(
        database,
        {"name": "extract", "produces": [{"namespace": "s3://lake", "name": "raw"}]},
        {"name": "clean", "consumes": [raw(**edge)], "produces": [{"namespace": "s3://lake", "name": "orders"}]},
        {
            "name": "report",
            "consumes": [{"dataset": {"namespace": "s3://lake", "name": "orders"}}],
            "produces": [{"namespace": "s3://lake", "name": "sales"}],
        },
    )


def extract(begun: int, ended: int, state: str = "succeeded", key: str = DAY, **version: Any) -> list[Event]:
    return run("extract", begun, ended, state, key, outputs=[data("raw", key, **version)])


def clean(begun: int, ended: int, state: str = "succeeded", key: str = DAY, **version: Any) -> list[Event]:
    made = [data("orders", key)] if state == "succeeded" else []
    return run("clean", begun, ended, state, key, inputs=[data("raw", key, **version)], outputs=made)


def report(begun: int, ended: int, key: str = DAY) -> list[Event]:
    return run("report", begun, ended, "succeeded", key, inputs=[data("orders", key)], outputs=[data("sales", key)])


def test_a_run_that_began_before_its_input_was_ready_is_found_with_what_was_built_from_it(database: Database) -> None:
    lake(database)
    record(database, extract(0, 20), clean(5, 30), report(40, 50))
    (item,) = found(database)
    assert item.message == (
        f"clean for {DAY} started at 2026-11-06 05:05:00 UTC, 15 min before s3://lake/raw for {DAY} was ready"
        " (2026-11-06 05:20:00 UTC)"
    )
    assert (item.code, item.severity, item.owner) == (EARLY, "high", "team-clean")
    assert (item.partitions, item.run, item.since) == ((DAY,), f"{DAY}@5", at(5))
    assert [(given.node.name, given.partition, given.owner, given.at) for given in item.inputs] == [
        ("raw", DAY, "team-extract", at(20))
    ]
    assert [(each.name, each.partition) for each in item.made] == [("orders", DAY)]
    built = item.built_from_it
    assert ([(each.name, each.partition) for each in built.items], built.count, built.complete) == (
        [("sales", DAY)],
        1,
        True,
    )


def test_what_was_built_anew_since_does_not_stand_on_the_early_run_any_more(database: Database) -> None:
    lake(database)
    record(database, extract(0, 20), clean(5, 30), report(40, 50), clean(60, 70), report(80, 90))
    (item,) = found(database)
    assert item.built_from_it.count == 0


def test_a_run_that_began_after_its_inputs_were_ready_is_not_found(database: Database) -> None:
    lake(database)
    record(database, extract(0, 20), clean(20, 30), report(40, 50))
    assert found(database) == []


def test_a_partition_written_again_under_a_run_is_found(database: Database) -> None:
    lake(database)
    record(database, extract(0, 10), extract(15, 25), clean(20, 40), report(50, 60))
    (item,) = found(database)
    assert item.message == (
        f"clean for {DAY} ran from 2026-11-06 05:20:00 to 2026-11-06 05:40:00 UTC, and s3://lake/raw for {DAY} was"
        " written again under it (2026-11-06 05:25:00 UTC)"
    )
    assert (item.code, item.severity, item.built_from_it.count) == (CHANGED, "medium", 1)


def test_the_same_version_written_again_has_not_changed(database: Database) -> None:
    lake(database)
    record(database, extract(0, 10, version="a"), extract(15, 25, version="a"), clean(20, 40))
    assert found(database) == []


@pytest.mark.parametrize("edge", [{"required": False}, {"staleness": "ignore"}, {"condition": {"kind": "failed"}}])
def test_an_edge_that_need_not_be_waited_for_makes_no_finding(database: Database, edge: dict[str, Any]) -> None:
    lake(database, **edge)
    record(database, extract(0, 20), run("clean", 5, 30, outputs=[data("orders")]))
    assert found(database) == []


def test_a_try_that_came_too_early_and_was_repeated_is_not_found(database: Database) -> None:
    lake(database)
    said: Event = {"task": {"namespace": "ns", "name": "clean"}, "partition": DAY, "run": "r"}
    tries = [
        {**said, "attempt": number, "time": at(minute).isoformat(), "state": state}
        for number, minute, state in [
            (1, 5, "running"),
            (1, 6, "up_for_retry"),
            (2, 25, "running"),
            (2, 30, "succeeded"),
        ]
    ]
    record(database, extract(0, 20), tries)
    assert found(database) == []


def test_what_was_ready_before_its_run_was_cleared_was_ready(database: Database) -> None:
    lake(database)
    said: Event = {"task": {"namespace": "ns", "name": "extract"}, "partition": DAY, "run": "r"}
    attempts = [
        {**said, "attempt": number, "time": at(minute).isoformat(), "state": state, "outputs": [data("raw")]}
        for number, minute, state in [(1, 0, "running"), (1, 10, "succeeded"), (2, 60, "running"), (2, 70, "succeeded")]
    ]
    record(database, attempts, clean(20, 30))
    assert found(database) == []
    record(database, clean(65, 80))
    assert shown(found(database)) == [(CHANGED, "clean", f"{DAY}@65")]


def test_a_stretch_whose_runs_need_very_many_partitions_ends_early_and_the_next_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding_run, "_MOST_PLACES", 2)
    monkeypatch.setattr(finding_run, "_BATCH", 1)
    lake(database)
    for day in range(2, 8):
        begun = 1_440 * (day - 5)
        record(database, extract(begun, begun + 20, key=f"2026-11-{day:02}"))
        record(database, clean(begun + 5, begun + 30, key=f"2026-11-{day:02}"))
    assert len(found(database)) == 6


def test_an_input_that_failed_and_never_came_is_found_and_one_from_outside_is_not(database: Database) -> None:
    lake(database)
    record(database, extract(0, 20, "failed"), clean(25, 30))
    (item,) = found(database)
    assert item.message.endswith(f"and s3://lake/raw for {DAY}, which it needs, has never been seen to be ready")
    assert item.inputs[0].at is None


def test_a_declared_input_that_nobody_made_is_found_where_earlier_ones_were_made(database: Database) -> None:
    lake(database)
    record(database, extract(0, 20, key="2026-11-03"), clean(25, 30))
    assert shown(found(database)) == [(EARLY, "clean", f"{DAY}@25")]


def test_files_from_outside_that_no_event_ever_told_of_are_not_missing(database: Database) -> None:
    lake(database)
    record(database, clean(25, 30))
    assert found(database) == []


def test_a_partition_from_before_anybody_looked_may_have_been_there(database: Database) -> None:
    lake(database)
    record(database, clean(5, 30, key="2026-11-02"), extract(60, 80, key="2026-11-02"))
    assert found(database) == []


def test_a_whole_table_that_is_reloaded_every_night_is_not_too_late_and_its_reload_is_good_to_know(
    database: Database,
) -> None:
    table = {"namespace": "s3://lake", "name": "customers"}
    consumer = {"name": "clean", "consumes": [{"dataset": table}]}
    declared(database, consumer, datasets=[{**table, "partitioning": {"kind": "none"}}])
    said: Event = {"task": {"namespace": "crm", "name": "crm"}, "outputs": [table]}
    reloads = [
        {**said, "run": str(begun), "time": at(begun + took).isoformat(), "state": state}
        for begun in (0, 1_440)
        for took, state in ((0, "running"), (10, "succeeded"))
    ]
    record(database, reloads, run("clean", 1_435, 1_460, inputs=[table]))
    (item,) = found(database)
    assert (item.code, item.severity) == (CHANGED, "low")


def test_what_nobody_declares_weighs_less(database: Database) -> None:
    record(database, extract(0, 20), clean(5, 30))
    (item,) = found(database)
    assert (item.code, item.severity, item.owner) == (EARLY, "medium", None)


def test_one_execution_of_a_platform_orders_its_own_parts(database: Database) -> None:
    lake(database)
    step = {"source": {"dagster_run_id": "d", "step_key": "dbt"}}
    groups = [extract(0, 20), clean(0, 20)]
    record(database, *[[{**event, **step} for event in group] for group in groups])
    assert found(database) == []


def test_an_edge_that_no_run_showed_is_found_once_enough_have_run(database: Database) -> None:
    lake(database)
    with database.transaction() as connection:
        connection.execute("alter table task_version disable trigger task_version_is_append_only")
        connection.execute("update task_version set declared_at = '2026-11-01'")
    reading = [data("rows")]
    for number in range(5):
        assert found(database, code=FindingCode.EDGE_NEVER_OBSERVED) == []
        record(database, run("clean", 10 * number, 10 * number + 5, inputs=reading, outputs=[data("orders")]))
    (never,) = found(database, code=FindingCode.EDGE_NEVER_OBSERVED)
    assert never.message == (
        "clean is declared by test to consume s3://lake/raw, and none of its last 5 runs that told of data was seen to"
        " have consumed it (the latest 2026-11-06 05:40:00 UTC)"
    )
    (undeclared,) = found(database, code=FindingCode.EDGE_NEVER_DECLARED)
    assert undeclared.message == (
        "clean was seen to consume s3://lake/rows (last at 2026-11-06 05:45:00 UTC), and test, which declares it, does"
        " not say so"
    )
    assert (undeclared.upstream and undeclared.upstream.name, undeclared.severity) == ("rows", "medium")


def test_who_declares_only_an_owner_leaves_the_edges_to_be_observed(database: Database) -> None:
    declared(database, {"name": "clean"})
    record(database, clean(0, 10))
    assert found(database) == []


def test_runs_that_tell_of_no_data_say_nothing_of_what_was_read(database: Database) -> None:
    lake(database)
    for number in range(6):
        record(database, run("clean", 10 * number, 10 * number + 5))
    assert found(database, code=FindingCode.EDGE_NEVER_OBSERVED) == []


def test_a_source_that_used_to_send_every_hour_and_stopped_is_found(database: Database) -> None:
    hours = [run("pulse", 60 * hour, 60 * hour + 5, key=str(hour)) for hour in range(72)]
    record(database, *hours)
    last = at(60 * 71 + 5)

    def silent(now: datetime) -> list[str]:
        page = findings(database, "dev", FindingFilter(since=SINCE, code=FindingCode.SOURCE_SILENT), now)
        return [item.message for item in page.items]

    assert silent(last + timedelta(hours=2)) == []
    assert silent(last + timedelta(hours=5)) == [
        "ns has sent nothing for 5 h (last at 2026-11-09 04:05:00 UTC); it used to send something at least once in 1 h"
    ]


def test_a_walk_yields_every_finding_once_whatever_the_size_of_its_pages(database: Database) -> None:
    lake(database)
    for day in range(2, 8):
        key = f"2026-11-{day:02}"
        early = 1_440 * (day - 5)
        record(database, extract(early, early + 20, key=key), clean(early + 5, early + 30, key=key))
        record(database, extract(early + 22, early + 25, key=key), report(early + 40, early + 50, key=key))
    whole = shown(found(database))
    assert len(whole) == 6
    assert [shown(found(database, limit=limit)) for limit in (1, 2, 4)] == [whole] * 3
    assert {item.owner for item in found(database, owner="team-report")} <= {"team-report"}
    assert found(database, code=FindingCode.INPUT_CHANGED) == []
    assert len(found(database, since=at(1_440 * 2))) == 1


def test_another_list_s_cursor_and_an_unknown_environment_are_refused(database: Database) -> None:
    with pytest.raises(InvalidInput):
        findings(database, "dev", FindingFilter(cursor="x"), NOW)
    with pytest.raises(NotFound):
        findings(database, "nowhere", FindingFilter(), NOW)


def test_what_an_alias_is_read_by_is_the_same_data(database: Database) -> None:
    alias = {"namespace": "db", "name": "raw"}
    raw_data = {"namespace": "s3://lake", "name": "raw", "aliases": [alias]}
    tasks = [{"namespace": "ns", "name": "clean", "consumes": [{"dataset": alias}]}]
    declare(database, "dev", definition.parse({"tasks": tasks, "datasets": [raw_data]}, "test"))
    bodies: list[object] = [json.dumps(event).encode() for event in [*extract(0, 20), *run("clean", 5, 30)]]
    assert record_any(database, "dev", bodies, NOTHING).rejected == []
    (item,) = found(database, code=FindingCode.STARTED_TOO_EARLY)
    assert [(given.node.namespace, given.node.name) for given in item.inputs] == [("s3://lake", "raw")]
