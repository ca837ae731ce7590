"""The check that upstreams are current, on a real ledger that holds the shop's definitions and some of its runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetKey,
    AssetSpec,
    DagsterInstance,
    Definitions,
    TableMetadataValue,
    asset,
)
from msgspec.structs import replace

from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.model import manifest
from dataforge.storage.database import Database
from dataforge_assets.arrivals import COLUMNS, IN_ORDER, IN_TIME, SEEN, of_arrival
from dataforge_assets.check_result import DIGEST
from dataforge_assets.checks import (
    CURRENT,
    KEPT,
    LAST_PARTITIONS,
    THERE,
    checked,
    checked_in,
    last_of,
    ledger_checks,
    of_upstreams,
    questions_of,
    results,
)
from dataforge_assets.dbt import DBT_ASSETS
from dataforge_assets.definitions import CHECKS, WINDOW, defs
from dataforge_assets.partitions import DAILY
from dataforge_sensors.ledger_checks import differing, evaluation_of, held_digests
from resources import LedgerResource
from resources.dbt import MANIFEST, dbt_resource
from resources.identity import ledger_metadata
from resources.model import Arrival, ArrivalQuestion, NodeRef

DAYS = [f"2026-11-{day:02}" for day in range(2, 9)]  # the first week
NOW = datetime(2026, 11, 20, tzinfo=UTC)
LATER = datetime(2026, 11, 13, 9, tzinfo=UTC)  # when a day is run again
PRODUCED = {  # in the order of their runs, with what each reads
    "orders": (),
    "payments": (),
    "orders_enriched": ("orders",),
    "stg_orders": ("orders_enriched",),
    "stg_payments": ("payments",),
    "daily_orders": ("stg_orders", "stg_payments"),
    "daily_revenue": ("daily_orders",),
}
CHECKED = checked_in(defs.get_repository_def())
SPECS = {each.key.to_user_string(): each for each in CHECKED}


def dataset(name: str, day: str) -> dict[str, str]:
    if name in ("orders", "payments", "orders_enriched"):
        return {"namespace": "s3://shop-lake", "name": name, "partition": day}
    relation = "orders" if name == "daily_orders" else name
    return {"namespace": "duckdb://shop.duckdb", "name": f"shop.main.{relation}", "partition": day}


def task(name: str) -> dict[str, str]:
    if name in ("orders", "payments"):
        return {"namespace": "shop-airflow", "name": f"shop_daily.load_{name}"}
    if name == "orders_enriched":
        return {"namespace": "shop-airflow", "name": "shop_daily.enrich_orders"}
    return {"namespace": "shop-dbt", "name": f"model.shop.{'orders' if name == 'daily_orders' else name}"}


def run(name: str, day: str, begun: datetime) -> list[dict[str, Any]]:
    """The two events of a run of five minutes."""
    said = {"task": task(name), "partition": day, "run": f"{name} of {day} @{begun:%m-%d}"}
    done = {"inputs": [dataset(each, day) for each in PRODUCED.get(name, ())], "outputs": [dataset(name, day)]}
    ended = begun + timedelta(minutes=5)
    return [
        {**said, "time": begun.isoformat(), "state": "running"},
        {**said, "time": ended.isoformat(), "state": "succeeded", **done},
    ]


def usual(name: str, day: str) -> datetime:
    """When a task runs for a day: on the next, each after those before it."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1, minutes=10 * list(PRODUCED).index(name))


def record(ledger: LedgerResource, *events: list[dict[str, Any]]) -> None:
    assert ledger.record([event for some in events for event in some]).rejected == []


def record_days(ledger: LedgerResource, days: list[str]) -> None:
    """Days on which everything ran as it should."""
    record(ledger, *(run(name, day, usual(name, day)) for day in days for name in PRODUCED))


@pytest.fixture
def ledger(database: Database) -> LedgerResource:
    """The ledger with the shop's definitions, and no run."""
    ledger = LedgerResource(database_url=database.url)
    shop = yaml.safe_load((MANIFEST.parents[1] / "definitions.yaml").read_text(encoding="utf-8"))
    ledger.declare("shop", shop)
    dbt = from_dbt(MANIFEST.read_bytes(), "shop-dbt", "duckdb://shop.duckdb")
    ledger.declare(dbt.source, manifest.to_json(dbt))
    return ledger


def check(ledger: LedgerResource, asset: str, name: str = CURRENT, now: datetime = NOW) -> AssetCheckResult:
    [found] = [each for each in results(ledger, [SPECS[asset]], now, LAST_PARTITIONS) if each.check_name == name]
    return found


def digest_in(result: AssetCheckResult) -> object:
    return (result.metadata or {})[DIGEST]


def causes(result: AssetCheckResult) -> list[dict[str, Any]]:
    table = (result.metadata or {})["dataforge/causes"]
    assert isinstance(table, TableMetadataValue)
    return [dict(record.data) for record in table.records]


def test_every_asset_is_checked_for_how_it_comes_or_what_it_is_made_from() -> None:
    models = ("stg_orders", "stg_payments", "orders", "daily_revenue", "weekly_revenue")
    made = {"lake/orders_enriched", *(f"warehouse/{model}" for model in models)}
    told, shown = {"lake/orders", "lake/payments", "lake/customers"}, {"dashboards/revenue_dashboard"}
    upstreams, comes = [CURRENT, THERE], [IN_TIME, IN_ORDER, COLUMNS, SEEN]
    assert SPECS.keys() == made | told | shown
    assert {name for name, each in SPECS.items() if each.checks == upstreams + comes} == made
    assert {name for name, each in SPECS.items() if each.checks == comes} == told
    assert {name for name, each in SPECS.items() if each.checks == upstreams} == shown


def test_what_was_built_after_its_upstreams_passes(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    found = results(ledger, CHECKED, NOW, LAST_PARTITIONS)
    of_upstreams = [result for result in found if result.check_name in (CURRENT, THERE)]
    assert {result.description for result in of_upstreams if not result.passed} == set()
    told = [(result.asset_key, result.check_name) for result in found]
    assert sorted(told) == sorted((each.key, name) for each in CHECKED for name in each.checks)
    assert check(ledger, "warehouse/orders").description == "7 built partitions are current."


def test_what_was_never_built_passes(ledger: LedgerResource) -> None:
    result = check(ledger, "warehouse/weekly_revenue")
    assert (result.passed, result.description) == (True, "0 built partitions are current.")


def test_a_day_run_again_upstream_is_named_with_its_run_and_time(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    record(ledger, run("orders", DAYS[3], LATER), run("orders_enriched", DAYS[3], LATER + timedelta(minutes=10)))
    assert check(ledger, "lake/orders_enriched").passed
    result = check(ledger, "warehouse/stg_orders")
    assert not result.passed
    assert result.description is not None
    assert result.description.startswith("2026-11-05: s3://shop-lake/orders_enriched for 2026-11-05 was written again")
    assert result.description.endswith(", by run orders_enriched of 2026-11-05 @11-13.")
    assert causes(result) == [
        {
            "partition": "2026-11-05",
            "cause": "upstream_stale",
            "upstream": "s3://shop-lake/orders_enriched",
            "upstream_partition": "2026-11-05",
            "since": "2026-11-13 09:15 UTC",
            "run": "orders_enriched of 2026-11-05 @11-13",
            "owner": "team-data@shop.example",
            "because": "",
        }
    ]
    assert check(ledger, "warehouse/stg_payments").passed


def test_an_upstream_that_was_never_built_is_missing_to_what_was_built_without_it(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    day = "2026-11-12"
    record(ledger, *(run(name, day, usual(name, day)) for name in PRODUCED if name not in ("payments", "stg_payments")))
    assert check(ledger, "warehouse/orders").passed
    result = check(ledger, "warehouse/orders", THERE)
    assert (result.passed, result.severity) == (False, AssetCheckSeverity.ERROR)
    assert [(row["partition"], row["cause"], row["upstream"]) for row in causes(result)] == [
        (day, "upstream_missing", "duckdb://shop.duckdb/shop.main.stg_payments")
    ]


def test_the_sentence_of_a_missing_upstream_says_since_when_by_which_run_and_whose_it_is(
    ledger: LedgerResource,
) -> None:
    record_days(ledger, DAYS)
    day = "2026-11-12"
    record(ledger, *(run(name, day, usual(name, day)) for name in PRODUCED if name not in ("payments", "stg_payments")))
    unknown = check(ledger, "warehouse/orders", THERE).description
    assert unknown == (
        "2026-11-12: duckdb://shop.duckdb/shop.main.stg_payments for 2026-11-12 is missing (no run of it is known),"
        " since 2026-11-13 00:00 UTC, owned by team-analytics@shop.example."
    )
    failed = {**run("stg_payments", day, usual("stg_payments", day))[0], "state": "failed"}
    record(ledger, [failed])
    description = check(ledger, "warehouse/orders", THERE).description or ""
    assert (
        "(its run failed), since 2026-11-13 00:40 UTC, by run stg_payments of 2026-11-12 @11-13, owned by"
        in description
    )


def test_a_week_is_stale_by_any_of_its_days_and_the_description_names_the_first(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    week = run("weekly_revenue", DAYS[0], datetime(2026, 11, 9, 12, tzinfo=UTC))
    record(ledger, week)
    assert check(ledger, "warehouse/weekly_revenue").passed
    again = [run("daily_revenue", day, LATER + timedelta(hours=n)) for n, day in enumerate(reversed(DAYS[2:5]))]
    record(ledger, *again)
    result = check(ledger, "warehouse/weekly_revenue")
    assert [row["upstream_partition"] for row in causes(result)] == DAYS[2:5]
    assert result.description is not None
    assert result.description.startswith("2026-11-02: duckdb://shop.duckdb/shop.main.daily_revenue for 2026-11-06 ")
    assert result.description.endswith(", and 2 more.")


def test_a_task_that_writes_nothing_is_checked_for_what_it_was_run_on(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    task = {"namespace": "shop-airflow", "name": "shop_daily.mail"}
    ledger.declare(
        "mail",
        {
            "tasks": [
                {
                    **task,
                    "partitioning": {"kind": "daily", "start": "2026-11-01"},
                    "consumes": [{"dataset": {"namespace": "s3://shop-lake", "name": "payments"}}],
                }
            ]
        },
    )
    sent = {"task": task, "partition": DAYS[0], "run": "mail", "state": "succeeded"}
    record(ledger, [{**sent, "time": (usual("payments", DAYS[0]) + timedelta(hours=1)).isoformat()}])
    own = ledger_metadata(task=("shop-airflow", "shop_daily.mail"))
    mail = AssetSpec("mail", deps=["payments"], metadata=own, partitions_def=DAILY)
    alone = AssetSpec("alone", metadata=own)
    [each] = checked([mail, alone])
    assert each.checks == [CURRENT, THERE]
    before = results(ledger, [each], NOW, LAST_PARTITIONS)
    assert [(result.check_name, result.passed) for result in before] == [(CURRENT, True), (THERE, True)]
    record(ledger, run("payments", DAYS[0], LATER))
    stale, _ = results(ledger, [each], NOW, LAST_PARTITIONS)
    assert not stale.passed
    assert (stale.description or "").startswith("2026-11-02: s3://shop-lake/payments for 2026-11-02 was written again")


def test_the_digest_changes_with_what_is_amiss_and_with_nothing_else(ledger: LedgerResource) -> None:
    def digest() -> object:
        return digest_in(check(ledger, "warehouse/stg_orders"))

    record_days(ledger, DAYS[:5])
    well = digest()
    record_days(ledger, DAYS[5:])
    assert digest() == well
    record(ledger, run("orders_enriched", DAYS[3], LATER))
    stale = digest()
    assert stale != well
    assert digest() == stale
    record(ledger, run("orders_enriched", DAYS[4], LATER))
    assert digest() not in (well, stale)


def test_only_the_last_partitions_that_have_begun_are_asked_for() -> None:
    orders, weekly = SPECS["warehouse/orders"], SPECS["warehouse/weekly_revenue"]
    [asked] = questions_of([orders], datetime(2026, 11, 5, 12, tzinfo=UTC), LAST_PARTITIONS)
    assert [question.partition for question in asked] == DAYS[:3]
    assert [len(each) for each in questions_of([orders, weekly], NOW, 5)] == [5, 2]


def test_all_assets_of_a_location_are_one_question() -> None:
    assert [last_of(CHECKED * times) for times in (0, 1, 20, 1_000)] == [30, 30, 25, 1]


def test_what_the_ledger_cannot_tell_does_not_pass(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    [[question, *_]] = questions_of([SPECS["warehouse/orders"]], NOW, LAST_PARTITIONS)
    [answer] = ledger.freshness([question]).items
    unknown = replace(answer, status=type(answer.status)("unknown"))
    result, _ = of_upstreams(AssetKey("orders"), [unknown])
    assert (result.passed, result.description) == (False, "The ledger cannot tell what it was built from.")


def test_dagster_runs_the_check_of_the_selected_assets_alone(ledger: LedgerResource) -> None:
    record_days(ledger, DAYS)
    record(ledger, run("orders", DAYS[3], LATER))
    key = AssetCheckKey(AssetKey(["lake", "orders_enriched"]), CURRENT)
    defs = Definitions(
        assets=[*WINDOW, *DBT_ASSETS],
        asset_checks=[CHECKS],
        resources={"ledger": ledger, "dbt": dbt_resource()},
    )
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_check_selection={key}, asset_selection=set())
    with DagsterInstance.ephemeral() as instance:
        [evaluation] = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert (evaluation.asset_check_key, evaluation.passed) == (key, False)


def test_what_a_run_has_just_built_keeps_the_result_from_before_until_the_ledger_knows(ledger: LedgerResource) -> None:
    """And the sensor's next answer is news, whatever it is."""
    record_days(ledger, DAYS)
    record(ledger, run("orders", DAYS[3], LATER))
    key = AssetKey(["lake", "orders_enriched"])

    @asset(key=key, deps=["orders"], metadata=ledger_metadata(dataset=("s3://shop-lake", "orders_enriched")))
    def built() -> None: ...

    checks = ledger_checks([built])
    defs = Definitions(assets=[built], asset_checks=[checks], resources={"ledger": ledger})
    job = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection={key}, asset_check_selection={AssetCheckKey(key, CURRENT)}
    )
    with DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).get_asset_check_evaluations() == []
        before = check(ledger, "lake/orders_enriched")
        instance.report_runless_asset_event(evaluation_of(before))
        for _ in range(2):
            [evaluation] = job.execute_in_process(instance=instance).get_asset_check_evaluations()
            assert (evaluation.passed, evaluation.severity) == (False, before.severity)
            assert evaluation.description == f"{KEPT}{before.description}"
        assert differing([before], held_digests(instance, [before]))


def test_what_comes_later_than_it_usually_does_is_late_with_when_it_was_expected() -> None:
    came = Arrival(
        node=NodeRef("dataset", "s3://shop-lake", "payments"),
        declared=True,
        observed=True,
        owner="team-ingest@shop.example",
        last=DAYS[2],
        usual_seconds=900.0,
    )
    in_time, *_ = of_arrival(AssetKey("payments"), came, NOW)
    assert (in_time.passed, in_time.description) == (True, "It usually comes 0:15:00 after its window.")
    late = replace(came, awaited=DAYS[3], expected_at=datetime(2026, 11, 6, 0, 15, tzinfo=UTC), late=3)
    result, _, _, seen = of_arrival(AssetKey("payments"), late, NOW)
    assert (result.passed, result.severity, seen.passed) == (False, AssetCheckSeverity.WARN, True)
    assert result.description == (
        "2026-11-05 is late, expected 2026-11-06 00:15 UTC, and 2 more; the last that came is 2026-11-04, owned by"
        " team-ingest@shop.example."
    )


def test_columns_that_changed_since_the_last_good_run_are_named_until_a_run_keeps_them(ledger: LedgerResource) -> None:
    before = [{"name": "id", "type": "int"}, {"name": "amount", "type": "int"}]
    after = [{"name": "id", "type": "bigint"}, {"name": "currency", "type": "string"}]
    shown = [before, before, after]
    for day, columns in zip(DAYS, shown, strict=False):
        begins, ends = run("payments", day, usual("payments", day))
        record(ledger, [begins, {**ends, "outputs": [{**dataset("payments", day), "columns": columns}]}])
    result = check(ledger, "lake/payments", COLUMNS)
    assert (result.passed, result.severity) == (False, AssetCheckSeverity.WARN)
    assert result.description == (
        "Run payments of 2026-11-04 @11-05 for 2026-11-04 changed the columns that run payments of 2026-11-03 @11-04"
        " had: added currency; removed amount; of another type id (int, now bigint)."
    )
    told = (result.metadata or {})["dataforge/changes"]
    assert isinstance(told, TableMetadataValue)
    assert [record.data["partition"] for record in told.records] == [DAYS[2]]
    begins, ends = run("payments", DAYS[3], usual("payments", DAYS[3]))
    record(ledger, [begins, {**ends, "outputs": [{**dataset("payments", DAYS[3]), "columns": after}]}])
    assert check(ledger, "lake/payments", COLUMNS).passed


def test_events_that_come_out_of_order_are_counted_and_told_again_when_they_are_ten_times_as_many(
    ledger: LedgerResource,
) -> None:
    late = [run("payments", day, usual("payments", day)) for day in DAYS]
    found = []
    for begins, ends in late[:2]:
        record(ledger, [ends])
        record(ledger, [begins])
        found.append(check(ledger, "lake/payments", IN_ORDER, datetime.now(UTC)))
    first, result = found
    assert digest_in(first) == digest_in(result)
    assert (result.passed, result.severity) == (False, AssetCheckSeverity.WARN)
    assert result.description is not None
    assert result.description.startswith("2 events came out of order on ")
    assert result.description.endswith(
        " the last is of run payments of 2026-11-03 @11-04 of shop_daily.load_payments for 2026-11-03: it occurred"
        " 2026-11-04 00:10 UTC, and what occurred 2026-11-04 00:15 UTC had been recorded before."
    )
    [told] = ledger.arrivals([ArrivalQuestion(name="payments")]).items
    [day] = told.out_of_order
    more = replace(told, out_of_order=(replace(day, events=10),))
    _, again, *_ = of_arrival(AssetKey("payments"), more, datetime.now(UTC))
    assert digest_in(again) != digest_in(result)
    _, in_order, *_ = of_arrival(AssetKey("payments"), told, datetime.now(UTC) + timedelta(days=2))
    assert (in_order.passed, in_order.description) == (True, "Since yesterday its events came in order.")


def test_what_is_declared_and_was_never_seen_does_not_pass_until_it_is(ledger: LedgerResource) -> None:
    before = check(ledger, "lake/payments", SEEN)
    assert (before.passed, before.description) == (
        False,
        "It is declared, and no event has ever shown it, owned by team-ingest@shop.example.",
    )
    record_days(ledger, DAYS[:1])
    assert check(ledger, "lake/payments", SEEN).passed


def test_what_was_built_without_an_upstream_holds_up_what_dagster_would_build_on_it(ledger: LedgerResource) -> None:
    """And nothing else: not once the ledger has all of it."""
    record_days(ledger, DAYS)
    day = "2026-11-12"
    record(ledger, *(run(name, day, usual(name, day)) for name in PRODUCED if name not in ("payments", "stg_payments")))
    dataset = ledger_metadata(dataset=("duckdb://shop.duckdb", "shop.main.orders"))
    orders = AssetSpec("orders", deps=["stg_orders"], metadata=dataset, partitions_def=DAILY)
    built = []

    @asset(deps=[orders])
    def below() -> None:
        built.append(1)

    job = (
        Definitions(assets=[orders, below], asset_checks=[ledger_checks([orders])], resources={"ledger": ledger})
        .resolve_implicit_global_asset_job_def()
        .get_subset(asset_selection={below.key}, asset_check_selection={AssetCheckKey(orders.key, THERE)})
    )
    with DagsterInstance.ephemeral() as instance:
        assert not job.execute_in_process(instance=instance, raise_on_error=False).success
        assert built == []
        late = [run(name, day, LATER) for name in ("payments", "stg_payments", "daily_orders")]
        record(ledger, *late)
        assert job.execute_in_process(instance=instance).success
        assert built == [1]
