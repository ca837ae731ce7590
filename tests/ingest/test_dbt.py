"""dbt's events as facts: what each of dbt-ol's two modes says, and leaves unsaid, of nodes and tests."""

from typing import Any

import pytest

from dataforge.ingest import dbt
from dataforge.ingest.envelope import check
from dataforge.model.attempt import Attempt, merge_all
from dataforge.model.event import Facts

INVOCATION = "1f6c0a1d-2f64-46a0-ae4d-59fbb7cc5bad"
STG_ORDERS = "test.main_staging.stg_orders"


def facts(
    kind: str, job: str, *, unique_id: str | None = None, job_type: str = "TEST", run_id: str = "r1", **more: Any
) -> Facts:
    """The facts of an event of dbt-ol 1.54."""
    run_facets = {"dbt_run": {"invocation_id": INVOCATION, "project_name": "shop"}, **more.pop("run_facets", {})}
    job_facets: dict[str, Any] = {"jobType": {"integration": "DBT", "jobType": job_type}}
    if unique_id:
        job_facets["dbt_node"] = {"unique_id": unique_id}
    document = {
        "eventTime": "2026-11-21T06:53:39.876560Z",
        "eventType": kind,
        "producer": "https://github.com/OpenLineage/OpenLineage/tree/1.54.0/integration/dbt",
        "run": {"runId": run_id, "facets": run_facets},
        "job": {"namespace": "prod-dbt", "name": job, "facets": job_facets},
        **more,
    }
    return dbt.facts(check(document, run_id.encode().ljust(16)))


def dataset(name: str, *assertions: dict[str, Any]) -> dict[str, Any]:
    facet = {"inputFacets": {"dataQualityAssertions": {"assertions": list(assertions)}}} if assertions else {}
    return {"namespace": "duckdb://test.duckdb", "name": name, **facet}


def assertion(name: str, **more: Any) -> dict[str, Any]:
    return {"assertion": "positive", "name": name, "success": False, "severity": "error", **more}


def model_tests(*assertions: dict[str, Any], suffix: str = "build.test", model: str = "stg_orders") -> Facts:
    """Artifact mode's event of all tests of a model."""
    return facts(
        "FAIL",
        f"test.main_staging.shop.{model}.{suffix}",
        unique_id=f"model.shop.{model}",
        inputs=[dataset(f"test.main_staging.{model}", *assertions)],
    )


def states(*found: Facts) -> dict[str, str]:
    merged = merge_all([attempt for each in found for attempt in each.attempts])
    return {key.task.name: attempt.statement.state.value for key, attempt in merged.items()}


def only(found: Facts) -> Attempt:
    (attempt,) = found.attempts
    return attempt


PASSED = assertion("not_null_stg_orders_id", success=True, actual="0", expected="0")


def test_a_database_called_test_makes_no_test_of_a_models_tests() -> None:
    assert states(model_tests(PASSED)) == {"test.shop.not_null_stg_orders_id": "succeeded"}


@pytest.mark.parametrize(
    ("unique_id", "name"),
    [
        ("test.shop.unique_tagged_id.9138803ca7", "test.shop.unique_tagged_id"),
        ("test.shop.deadbeef01", "test.shop.deadbeef01"),
        ("model.shop.dim_customer.v2", "model.shop.dim_customer.v2"),
        ("unit_test.shop.dim_customer.customers_are_kept_v2", "unit_test.shop.dim_customer.customers_are_kept_v2"),
    ],
)
def test_only_a_generic_test_loses_its_hash(unique_id: str, name: str) -> None:
    assert dbt.task_name(unique_id) == name


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ({"actual": "3", "expected": "0"}, "failed"),
        ({"actual": "3", "expected": ">10"}, "succeeded"),
        ({"actual": "3", "expected": ">=3"}, "failed"),
        ({"actual": "3", "expected": "between 1 and 5"}, "failed"),
        ({"actual": "3", "expected": "0", "severity": "warn"}, "succeeded"),
    ],
)
def test_a_test_that_finds_rows_fails_or_warns_as_its_severity_and_threshold_say(
    found: dict[str, str], state: str
) -> None:
    assert states(model_tests(assertion("few_rows", **found))) == {"test.shop.few_rows": state}


def test_a_test_without_a_count_broke_when_others_of_its_model_have_theirs() -> None:
    found = states(model_tests(PASSED, assertion("broken"), assertion("broken_warn", severity="warn")))
    assert (found["test.shop.broken"], found["test.shop.broken_warn"]) == ("failed", "failed")


def test_a_build_that_counts_nothing_on_a_model_skipped_its_tests() -> None:
    found = states(model_tests(assertion("a"), assertion("b", severity="warn"), model="after_broken"))
    assert found == {"test.shop.a": "skipped", "test.shop.b": "skipped"}


def test_a_relationships_test_may_be_skipped_for_its_other_model() -> None:
    found = states(model_tests(PASSED, assertion("relationships_x", assertion="relationships")))
    assert found["test.shop.relationships_x"] == "skipped"


def test_the_test_command_skips_nothing() -> None:
    found = states(model_tests(assertion("a"), assertion("b", severity="warn"), suffix="test"))
    assert found == {"test.shop.a": "failed", "test.shop.b": "failed"}
    assert states(model_tests(assertion("a"), suffix="test", model="build")) == {"test.shop.a": "failed"}


def test_an_old_dbt_ol_that_counts_no_rows_is_taken_at_its_word() -> None:
    old = {"assertion": "not_null", "column": "id", "success": False}
    found = states(model_tests(old, {**old, "column": "amount", "severity": "warn"}))
    assert found == {
        "test.shop.not_null_stg_orders_id": "failed",
        "test.shop.not_null_stg_orders_amount": "succeeded",
    }


def singular(name: str, kind: str = "FAIL", **counted: str) -> Facts:
    """Artifact mode's own event of a singular test."""
    facet = {"test": {"tests": [{"name": name, "status": "fail", "severity": "error", **counted}]}}
    inputs = [dataset(STG_ORDERS)]
    return facts(kind, name, unique_id=name, run_id="r2", run_facets=facet, inputs=inputs)


@pytest.mark.parametrize(
    ("siblings", "counted", "state"),
    [((), {}, "skipped"), ((PASSED,), {}, "failed"), ((), {"actual": "2", "expected": "0"}, "failed")],
)
def test_both_events_of_a_singular_test_are_one_attempt(
    siblings: tuple[dict[str, Any], ...], counted: dict[str, str], state: str
) -> None:
    listed = model_tests(*siblings, assertion("single", assertion="single", **counted))
    for order in ((listed, singular("test.shop.single", **counted)), (singular("test.shop.single", **counted), listed)):
        assert states(*order)["test.shop.single"] == state
    assert len({attempt.key for attempt in (listed.attempts[-1], *singular("test.shop.single").attempts)}) == 1


def test_a_singular_test_on_a_packages_model_is_told_by_its_own_event_alone() -> None:
    listed = facts(
        "COMPLETE",
        "test.main.kit.calendar.build.test",
        unique_id="model.kit.calendar",
        inputs=[
            dataset(
                "test.main.calendar",
                assertion("root_test", assertion="root_test", success=True, actual="0"),
                assertion("unique_calendar_day_id", assertion="unique", success=True, actual="0"),
            )
        ],
    )
    assert states(listed) == {"test.kit.unique_calendar_day_id": "succeeded"}


def test_two_tests_of_one_name_are_as_good_as_the_worse() -> None:
    good = model_tests(assertion("same_name", success=True, actual="0"))
    bad = model_tests(assertion("same_name", actual="1", expected="0"), model="stg_customers")
    assert states(good, bad) == states(bad, good) == {"test.shop.same_name": "failed"}


def test_a_node_that_dbt_lets_go_without_a_result_was_skipped() -> None:
    job = "model.shop.orders_daily"
    start = facts("START", job, unique_id=job, job_type="MODEL")
    other = facts("OTHER", job, unique_id=job, job_type="MODEL")
    assert states(start, other) == {job: "skipped"}
    assert only(other).ended_at is not None


def test_an_invocation_that_was_cut_short_is_canceled_and_not_skipped() -> None:
    assert states(facts("ABORT", "dbt-run-shop", job_type="JOB")) == {"dbt-run-shop": "canceled"}


def test_a_statement_of_a_test_finds_the_tests_run() -> None:
    test = "test.shop.unique_tagged_id.9138803ca7"
    parent = {"job": {"namespace": "prod-dbt", "name": test}, "run": {"runId": "r1"}}
    step = only(facts("START", f"{test}.sql.1", job_type="SQL", run_id="r2", run_facets={"parent": parent}))
    run = only(facts("START", test, unique_id=test))
    assert step.parent is not None
    assert (step.parent.task, step.parent.external_run) == (run.key.task, run.external_run)


def test_a_unit_test_reads_no_table() -> None:
    table = dataset("test.main_marts.dim_customer_v2")
    found = facts("COMPLETE", "unit_test.shop.dim_customer.kept", job_type="", inputs=[table])
    assert (found.datasets, found.edges, only(found).touches) == ((), (), ())


def test_where_a_test_keeps_its_failing_rows_is_no_dataset() -> None:
    test = "test.shop.unique_tagged_id.9138803ca7"
    kept = [dataset("test.main_dbt_test__audit.unique_tagged_id")]
    found = facts("START", test, unique_id=test, inputs=[dataset("test.main_marts.tagged")], outputs=kept)
    assert [each.dataset.name for each in found.datasets] == ["test.main_marts.tagged"]
