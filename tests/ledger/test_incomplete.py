"""What is told of a partition that several runs make and that is not there: skipped, mapped, listed by a manifest."""

from __future__ import annotations

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.storage.database import Database
from tests.ledger.completeness_events import (
    DAY,
    ORDERS,
    REGIONS,
    REPORT,
    ask,
    declare_orders,
    named,
    say,
    task,
)


def test_a_producer_that_was_skipped_has_nothing_to_bring(database: Database) -> None:
    declare_orders(database, *map(task, ("a", "b")))
    say(database, "a", "skipped")
    assert named(ask(database)) == [("upstream_missing", "b")]
    say(database, "b", hour=2)
    assert ask(database).runnable
    say(database, "b", "skipped", hour=3)
    assert named(ask(database)) == [("upstream_skipped", "orders")]


def test_a_skip_is_no_share_where_some_are_asked_for(database: Database) -> None:
    declare_orders(database, *map(task, ("a", "b", "c")), when=2)
    for name in ("a", "b"):
        say(database, name, "skipped")
    assert named(ask(database)) == [("upstream_skipped", "orders")]
    say(database, "b", hour=2)
    assert named(ask(database)) == [("upstream_missing", "c")]
    say(database, "c", hour=2)
    assert ask(database).runnable


def test_a_key_of_a_manifest_is_told_of_as_the_run_for_it_stands(database: Database) -> None:
    load = task("load", cut=REGIONS, mapping={"kind": "all"})
    declare_orders(database, load, when={"manifest": ["eu", "us"]})
    written = [{**ORDERS, "partition": DAY}]
    for key, state in (("eu", "failed"), ("us", "running")):
        say(database, "load", state, key=key, outputs=written)
    answer = ask(database)
    assert (answer.status, named(answer)) == (
        "blocked",
        [("upstream_failed", "orders"), ("upstream_running", "orders")],
    )
    assert answer.reasons[0].message.endswith("lacks eu, which its manifest lists: the run for it failed")
    say(database, "load", key="eu", hour=2, outputs=written)
    assert (ask(database).status, named(ask(database))) == ("waiting", [("upstream_running", "orders")])


def test_what_was_cleared_is_to_bring_its_share_again(database: Database) -> None:
    load = task("load", cut=REGIONS, mapping={"kind": "all"})
    declare_orders(database, load, when={"manifest": ["eu", "us"]})
    for key in ("eu", "us"):
        say(database, "load", key=key, outputs=[{**ORDERS, "partition": DAY}])
    assert ask(database).runnable
    clear = {"time": "2026-11-08T02:00:00Z", "control": "clear", "task": {"namespace": "ns", "name": "load"}}
    clear |= {"partition": "eu", "run": "eu-1", "by": "anna", "reason": "half a file"}
    assert record_native(database, "dev", [clear], NOTHING).rejected == []
    assert (ask(database).status, named(ask(database))) == ("waiting", [("upstream_running", "orders")])


def test_of_a_mapped_producer_the_instance_counts_that_has_not_ended(database: Database) -> None:
    declare_orders(database, *map(task, ("a", "b")))
    say(database, "a")
    for index, (hour, state) in enumerate([(2, "running"), (3, "succeeded")]):
        say(database, "b", state, hour=hour, run="night", map_index=index)
    assert (ask(database).status, named(ask(database))) == ("waiting", [("upstream_running", "b")])


def test_who_updates_in_place_finds_nothing_where_the_producer_was_skipped(database: Database) -> None:
    declare_orders(database, task("load"), task("clean", reads=True))
    say(database, "load", "skipped")
    assert named(ask(database, "clean")) == [("upstream_skipped", "load")]
    clean = task("clean", reads=True)
    clean["consumes"][0]["condition"] = {"kind": "not_failed"}
    declare_orders(database, task("load"), clean)
    assert ask(database, "clean").runnable


def test_of_a_share_that_any_run_brings_no_one_partition_of_its_task_tells(database: Database) -> None:
    load = task("load", mapping={"kind": "all"})
    del load["partitioning"]
    after = {
        **REPORT,
        "name": "after",
        "consumes": [*REPORT["consumes"], {"task": {"namespace": "ns", "name": "load"}}],
    }
    declare_orders(database, load, task("other"), after)
    say(database, "other")
    started = {"time": "2026-11-08T01:00:00Z", "task": {"namespace": "ns", "name": "load"}, "state": "running"}
    assert record_native(database, "dev", [started], NOTHING).rejected == []
    assert named(ask(database)) == [("upstream_missing", "load")]
    assert named(ask(database, "after")) == [("upstream_missing", "load"), ("upstream_running", "load")]
