"""The condition `ledger_ready` on a real ledger: true for exactly what the ledger lets run, with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetSelection,
    AssetSpec,
    AutomationCondition,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    RunRequest,
    asset,
    build_sensor_context,
    evaluate_automation_conditions,
)
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.test_utils import freeze_time

from dataforge.dispatch.announce import announce
from dataforge.dispatch.release import tend
from dataforge.model.backfill import Backfilling, Target
from dataforge.storage.database import Database
from dataforge_assets import automation
from dataforge_assets.automation import LedgerReady, ledger_ready, ready_sensors, when_ready
from dataforge_assets.automation_sensor import ReadySensor
from dataforge_assets.released import BACKFILL, tagged
from resources import LedgerResource
from resources.identity import ledger_metadata
from resources.model import Answers, Named, Unreachable

NOW = datetime(2026, 11, 6, 5, tzinfo=UTC)
DAYS = ["2026-11-03", "2026-11-04", "2026-11-05"]
DAILY = DailyPartitionsDefinition("2026-11-01")
CUT = {"kind": "daily", "start": "2026-11-01"}


@pytest.fixture
def ledger(database: Database) -> LedgerResource:
    resource = LedgerResource(database_url=database.url, environment="dev")
    load = {"namespace": "ns", "name": "load"}
    resource.declare(
        "shop",
        {
            "tasks": [
                {**load, "partitioning": CUT},
                {"namespace": "ns", "name": "clean", "partitioning": CUT, "consumes": [{"task": load}]},
                {"namespace": "ns", "name": "mail", "gates": ["review"]},
            ]
        },
    )
    return resource


def _told(ledger: LedgerResource, name: str, day: str, state: str) -> None:
    event = {
        "time": "2026-11-06T04:00:00Z",
        "task": {"namespace": "ns", "name": name},
        "partition": day,
        "state": state,
    }
    assert ledger.record([event]).rejected == []


def _world(condition: Any, beside: Any = None) -> Definitions:
    """clean is made here from what another platform loads; mail has no partitions; nobody has declared other."""

    @asset(
        deps=["load"], partitions_def=DAILY, automation_condition=condition, metadata=ledger_metadata(("ns", "clean"))
    )
    def clean() -> None: ...

    @asset(automation_condition=beside or condition, metadata=ledger_metadata(("ns", "mail")))
    def mail() -> None: ...

    @asset(automation_condition=condition)
    def other() -> None: ...

    return Definitions(assets=[AssetSpec("load", partitions_def=DAILY), clean, mail, other])


def _asked(defs: Definitions, instance: DagsterInstance, cursor: Any = None) -> Any:
    chosen = AssetSelection.assets("clean", "mail", "other")
    return evaluate_automation_conditions(defs, instance, chosen, cursor=cursor, evaluation_time=NOW)


def _partitions(result: Any, name: str) -> set[str]:
    return set(result.get_requested_partitions(AssetKey(name)))


def test_it_is_true_for_exactly_what_the_ledger_lets_run(ledger: LedgerResource) -> None:
    _told(ledger, "load", DAYS[0], "succeeded")
    _told(ledger, "load", DAYS[1], "failed")
    _told(ledger, "load", DAYS[2], "running")
    with DagsterInstance.ephemeral() as instance:
        result = _asked(_world(ledger_ready(ledger)), instance)
        assert _partitions(result, "clean") == {DAYS[0]}
        assert result.get_num_requested(AssetKey("mail")) == 0
        assert result.get_num_requested(AssetKey("other")) == 0


def test_each_reason_is_a_child_that_is_true_for_what_it_keeps_back(ledger: LedgerResource) -> None:
    _told(ledger, "load", DAYS[0], "succeeded")
    _told(ledger, "load", DAYS[1], "failed")
    with DagsterInstance.ephemeral() as instance:
        results = {each.key.to_user_string(): each for each in _asked(_world(ledger_ready(ledger)), instance).results}
        kept = {
            child.condition.name: child.true_subset.expensively_compute_partition_keys()
            for child in results["clean"].child_results
            if not child.true_subset.is_empty
        }
        assert kept == {"upstream_failed": {DAYS[1]}, "upstream_missing": {DAYS[2]}}
        assert [each.condition.name for each in results["mail"].child_results if not each.true_subset.is_empty] == [
            "gate_pending"
        ]


def test_it_closes_the_hole_that_eager_leaves(ledger: LedgerResource) -> None:
    """load ran for the day, as Dagster sees it; in the ledger its result is quarantined, and nothing is built of it."""
    _told(ledger, "load", DAYS[2], "succeeded")
    order = {"control": "quarantine", "task": {"namespace": "ns", "name": "load"}, "partition": DAYS[2]}
    assert (
        ledger.record([{**order, "time": "2026-11-06T04:30:00Z", "by": "anna", "reason": "half a file"}]).rejected == []
    )
    with DagsterInstance.ephemeral() as instance:
        asked = {
            name: _world(condition)
            for name, condition in (("eager", AutomationCondition.eager()), ("ledger", when_ready(ledger)))
        }
        cursors = {name: _asked(defs, instance).cursor for name, defs in asked.items()}
        instance.report_runless_asset_event(AssetMaterialization("load", partition=DAYS[2]))
        found = {name: _partitions(_asked(defs, instance, cursors[name]), "clean") for name, defs in asked.items()}
    assert found == {"eager": {DAYS[2]}, "ledger": set()}


def test_a_partition_is_asked_for_once_and_again_when_it_may_run_again(ledger: LedgerResource) -> None:
    _told(ledger, "load", DAYS[0], "succeeded")
    defs = _world(when_ready(ledger))
    with DagsterInstance.ephemeral() as instance:
        first = _asked(defs, instance)
        second = _asked(defs, instance, first.cursor)
        assert [_partitions(each, "clean") for each in (first, second)] == [{DAYS[0]}, set()]
        _told(ledger, "clean", DAYS[0], "succeeded")
        third = _asked(defs, instance, second.cursor)
        ledger.rerun("clean", DAYS[0], reason="again", namespace="ns")
        fourth = _asked(defs, instance, third.cursor)
        assert [_partitions(each, "clean") for each in (third, fourth)] == [set(), {DAYS[0]}]


def test_it_combines_with_conditions_of_dagsters_own(ledger: LedgerResource) -> None:
    _told(ledger, "load", DAYS[0], "succeeded")
    _told(ledger, "load", DAYS[2], "succeeded")
    with DagsterInstance.ephemeral() as instance:
        latest = _asked(_world(ledger_ready(ledger) & AutomationCondition.in_latest_time_window()), instance)
        others = _asked(_world(~ledger_ready(ledger) & AutomationCondition.missing()), instance)
        either = _asked(_world(ledger_ready(ledger) | AutomationCondition.in_latest_time_window()), instance)
        never_asked = _asked(_world(ledger_ready(ledger).since(AutomationCondition.newly_requested())), instance)
    assert _partitions(latest, "clean") == {DAYS[2]}
    assert _partitions(others, "clean") == {"2026-11-01", "2026-11-02", DAYS[1]}
    assert _partitions(either, "clean") == {DAYS[0], DAYS[2]}
    assert _partitions(never_asked, "clean") == {DAYS[0], DAYS[2]}


def test_one_question_is_asked_for_all_assets_of_a_tick(
    ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    readiness = LedgerResource.readiness

    def counted(self: LedgerResource, given: Sequence[Named]) -> Answers:
        asked.append(len(given))
        return readiness(self, given)

    monkeypatch.setattr(LedgerResource, "readiness", counted)
    with DagsterInstance.ephemeral() as instance:
        _asked(_world(ledger_ready(ledger), when_ready(ledger)), instance)
    assert asked == [5]  # three days of clean, mail and other


def _ticked(condition: Any, instance: DagsterInstance, cursor: str | None) -> SensorExecutionData:
    """What the sensor of these assets says, as the daemon asks it."""
    world = _world(condition)
    [sensor] = ready_sensors(AssetKey(name) for name in ("clean", "mail", "other"))
    context = build_sensor_context(instance=instance, cursor=cursor, definitions=world)
    with context, freeze_time(NOW):
        return sensor.evaluate_tick(context)


def test_a_tick_without_a_ledger_is_skipped_with_one_line_and_goes_on_where_it_was(ledger: LedgerResource) -> None:
    nowhere = LedgerResource(url="http://127.0.0.1:9", environment="dev")
    _told(ledger, "load", DAYS[0], "succeeded")
    with DagsterInstance.ephemeral() as instance:
        before = _ticked(when_ready(ledger), instance, None)
        for down in [_ticked(each, instance, before.cursor) for each in (when_ready(nowhere), ~ledger_ready(nowhere))]:
            assert (down.run_requests, [*down.automation_condition_evaluations]) == (None, [])
            assert down.cursor == before.cursor
            assert down.skip_message
            assert down.skip_message.startswith("cannot reach the ledger at http://127.0.0.1:9")
            assert "\n" not in down.skip_message
        again = _ticked(when_ready(ledger), instance, before.cursor)
    assert before.run_requests
    assert not again.run_requests


def test_a_ledger_that_is_silent_is_asked_once_in_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []

    def silent(*_: object) -> None:
        asked.append(None)
        raise Unreachable("the ledger does not answer within 15 s")

    monkeypatch.setattr(LedgerResource, "wakeups", silent)
    with DagsterInstance.ephemeral() as instance:
        said = _ticked(ledger_ready(LedgerResource(url="http://127.0.0.1:9")), instance, None)
    assert said.skip_message == "the ledger does not answer within 15 s. Nothing is requested, and the cursor stays."
    assert len(asked) == 1


def test_an_error_that_is_not_the_ledgers_still_fails_the_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LedgerResource, "wakeups", lambda *_: 1 // 0)
    with DagsterInstance.ephemeral() as instance, pytest.raises(Exception, match="Error while evaluating"):
        _ticked(ledger_ready(LedgerResource(url="http://127.0.0.1:9")), instance, None)


def test_a_sensor_that_is_given_other_metadata_still_skips() -> None:
    [sensor] = ready_sensors([AssetKey("clean")])
    assert isinstance(sensor.with_attributes(metadata={"team": "shop"}), ReadySensor)


def test_what_it_was_given_tells_it_from_others() -> None:
    assert LedgerReady(None, 3).get_unique_id() != LedgerReady(None, 4).get_unique_id()


def test_no_sensor_has_more_assets_than_dagster_evaluates() -> None:
    keys = [AssetKey(f"asset_{number:04}") for number in range(1_001)]
    sensors = ready_sensors(keys)
    assert [sensor.name for sensor in sensors] == ["ledger_ready_1", "ledger_ready_2", "ledger_ready_3"]
    assert ready_sensors(keys[:3])[0].name == "ledger_ready"


def _released(ledger: LedgerResource, database: Database, day: str) -> str:
    """A backfill that has released a day of clean anew; its id."""
    target = Target(name="clean", namespace="ns", partitions=(day,))
    begun = ledger.backfill(Backfilling(targets=(target,), overwrite="always", reason="a late file"))
    tend(database, "dev", datetime.now(UTC))
    while announce(database, "dev", datetime.now(UTC)):
        pass
    assert begun.id is not None
    return begun.id


def test_what_a_backfill_has_released_runs_in_dagster_however_old_it_is(
    ledger: LedgerResource, database: Database
) -> None:
    for name in ("load", "clean"):
        _told(ledger, name, "2026-11-01", "succeeded")
    defs = _world(when_ready(ledger))
    with DagsterInstance.ephemeral() as instance:
        before = _asked(defs, instance)
        _released(ledger, database, "2026-11-01")
        after = _asked(defs, instance, before.cursor)
    assert [_partitions(each, "clean") for each in (before, after)] == [set(), {"2026-11-01"}]


def test_a_run_of_what_a_backfill_has_released_is_tagged_with_it(ledger: LedgerResource, database: Database) -> None:
    for name in ("load", "clean"):
        _told(ledger, name, "2026-11-01", "succeeded")
    with DagsterInstance.ephemeral() as instance:
        before = _ticked(when_ready(ledger), instance, None)
        backfill = _released(ledger, database, "2026-11-01")
        alone = _ticked(when_ready(ledger), instance, before.cursor)
        _told(ledger, "load", DAYS[0], "succeeded")
        live = _ticked(when_ready(ledger), instance, alone.cursor)
    asked = [
        {each.partition_key: each.tags.get(BACKFILL) for each in tick.run_requests or ()} for tick in (alone, live)
    ]
    assert asked == [{"2026-11-01": backfill}, {DAYS[0]: None}]


def test_several_partitions_in_one_request_are_tagged_with_what_has_released_them() -> None:
    days = DAILY.subset_with_partition_keys(DAYS)
    several = AssetGraphSubset({AssetKey("clean"): days}, set())  # type: ignore[call-arg]  # its decorator hides it
    request = RunRequest.for_asset_graph_subset(several, tags={"team": "shop"})
    found = tagged(
        request, {(AssetKey("clean"), DAYS[1]): "b", (AssetKey("clean"), DAYS[0]): "a", (AssetKey("mail"), None): "c"}
    )
    assert (found.tags, found.asset_graph_subset) == ({"team": "shop", BACKFILL: "a,b"}, several)


def test_without_a_ledger_it_is_that_of_the_installation(
    ledger: LedgerResource, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _told(ledger, "load", DAYS[0], "succeeded")
    monkeypatch.setenv("DATAFORGE_LEDGER", database.url)
    monkeypatch.setattr(automation, "_ledgers", [])
    with ExitStack() as opened, DagsterInstance.ephemeral() as instance:
        monkeypatch.setattr(automation, "_open", opened)
        assert _partitions(_asked(_world(ledger_ready()), instance), "clean") == {DAYS[0]}
