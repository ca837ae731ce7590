"""Freshness on real events: what was built from something older is found, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from dataforge.ledger.catalog import partitions
from dataforge.ledger.freshness import freshness
from dataforge.ledger.readiness import readiness, verdict
from dataforge.model.filter import PartitionFilter
from dataforge.model.freshness import FreshnessQuestion
from dataforge.model.question import Named
from dataforge.model.reference import TaskRef
from dataforge.model.state import PartitionStatus
from dataforge.model.verdict import NodeRef
from dataforge.storage.database import Database
from tests.ledger.freshness_events import (
    DAY,
    NEWER,
    NOW,
    ask,
    at,
    clean,
    data,
    declared,
    extract,
    named,
    one,
    raw,
    record,
    run,
    shown,
)


def test_what_is_built_from_what_is_there_is_fresh(database: Database) -> None:
    record(database, extract(0, 2), clean(3, 4))
    item = one(database)
    assert shown(item) == ("fresh", [])
    assert item.built_at == at(4)
    assert item.built_by is not None
    assert (item.built_by.task, item.built_by.run) == (TaskRef("ns", "clean"), f"{DAY}@3")


def test_an_upstream_that_was_written_again_makes_it_stale_and_says_when_and_by_what(database: Database) -> None:
    record(database, extract(0, 2), clean(3, 4), extract(10_022, 10_024))
    item = one(database)
    assert shown(item) == NEWER
    reason = item.reasons[0]
    assert reason.message == (
        "s3://lake/raw for 2026-11-05 was written again at 2026-11-13 04:04 UTC, after this was built"
        " (2026-11-06 05:04 UTC)"
    )
    assert (reason.state, reason.since, reason.run) == ("ready", at(10_024), f"{DAY}@10022")
    assert shown(one(database, "clean", kind="task")) == NEWER


def test_what_was_built_from_it_is_stale_and_what_was_built_from_that_in_turn(database: Database) -> None:
    report = run("report", 5, 6, inputs=[data("orders")], outputs=[data("report")])
    other = run("clean", 3, 4, key="2026-11-06", inputs=[data("raw", "2026-11-06")])
    record(database, extract(0, 2), clean(3, 4), report, other, extract(10, 11))
    assert [item.status for item in ask(database, "raw", "orders", "report").items] == ["fresh", "stale", "stale"]
    (reason,) = one(database, "report").reasons
    assert (reason.upstream, reason.state) == (NodeRef("dataset", "s3://lake", "orders"), "stale")
    assert reason.message == (
        "s3://lake/orders for 2026-11-05 is stale itself: s3://lake/raw for 2026-11-05 was written again at"
        " 2026-11-06 05:11 UTC"
    )
    (root,) = reason.because
    assert root.upstream == NodeRef("dataset", "s3://lake", "raw")
    assert (root.partition, root.state, root.since, root.run) == (DAY, "ready", at(11), f"{DAY}@10")
    record(database, clean(12, 13))
    assert [item.status for item in ask(database, "raw", "orders", "report").items] == ["fresh", "fresh", "stale"]


def test_the_start_counts_not_the_end(database: Database) -> None:
    record(database, extract(0, 2), clean(3, 6), extract(3, 5))
    item = one(database)
    assert shown(item) == NEWER
    assert "when the run that built this had begun (2026-11-06 05:03 UTC)" in item.reasons[0].message


@pytest.mark.parametrize("state", ["failed", "running", "up_for_retry", "canceled"])
def test_a_rerun_that_did_not_succeed_makes_nothing_newer_or_missing(database: Database, state: str) -> None:
    record(database, extract(0, 2), clean(3, 4), extract(10, 11, state))
    assert shown(one(database)) == ("fresh", [])


def test_an_edge_that_ignores_staleness_cuts_the_chain(database: Database) -> None:
    orders = {"dataset": named("orders"), "staleness": "ignore"}
    declared(database, {"name": "report", "consumes": [orders], "produces": [named("report")]})
    record(database, extract(0, 2), clean(3, 4), run("report", 5, 6, outputs=[data("report")]), extract(10, 11))
    assert [item.status for item in ask(database, "orders", "report").items] == ["stale", "fresh"]


@pytest.mark.parametrize("staleness", ["warn", "block"])
def test_what_blocks_on_what_is_stale_does_not_read_what_is_stale_in_turn(database: Database, staleness: str) -> None:
    report = {"dataset": named("report"), "staleness": staleness}
    declared(database, {"name": "mail", "consumes": [report]})
    record(database, extract(0, 2), clean(3, 4))
    record(database, run("report", 5, 6, inputs=[data("orders")], outputs=[data("report")]), extract(10, 11))
    answer = verdict(database, "dev", Named("mail", "ns", DAY), NOW)
    assert answer.runnable == (staleness == "warn")
    (reason,) = answer.reasons or answer.warnings
    assert (reason.code, reason.state) == ("upstream_stale", "stale")
    assert [each.upstream.name for each in reason.because] == ["orders", "raw"]


def test_what_failed_anew_is_failed_and_not_stale_though_what_it_made_before_is(database: Database) -> None:
    declared(database, {"name": "mail", "consumes": [{"dataset": named("report")}]})
    record(database, extract(0, 2), clean(3, 4))
    reported: dict[str, Any] = {"inputs": [data("orders")], "outputs": [data("report")]}
    record(database, run("report", 5, 6, **reported), run("mail", 7, 8), extract(10, 11))
    record(database, run("report", 12, 13, "failed", **reported))
    answer = verdict(database, "dev", Named("mail", "ns", DAY), NOW)
    assert [reason.code.value for reason in answer.reasons] == ["already_done", "upstream_failed"]
    assert [reason.code.value for reason in answer.warnings] == ["upstream_stale"]


def test_how_far_up_was_looked_is_said(database: Database) -> None:
    own = {"dataset": named("sum"), "mapping": {"kind": "window", "from": -1, "to": -1}}
    start = {"kind": "daily", "start": "2026-09-01"}
    declared(
        database,
        {"name": "sum", "partitioning": start, "consumes": [own], "produces": [named("sum")]},
    )
    days = [f"2026-{month:02}-{day:02}" for month in (9, 10) for day in range(1, 31)]
    record(database, *(run("sum", 2 * n, 2 * n + 1, key=d, outputs=[data("sum", d)]) for n, d in enumerate(days)))
    assert [one(database, "sum", day).truncated for day in (days[5], days[-1])] == [False, True]
    record(database, run("sum", 500, 501, key=days[0], outputs=[data("sum", days[0])]))
    assert [one(database, "sum", day).status for day in (days[1], days[20], days[-1])] == ["stale", "stale", "fresh"]
    assert len(one(database, "sum", days[20]).reasons[0].because) == 19


def test_what_was_never_written_is_missing_with_what_became_of_its_run(database: Database) -> None:
    yesterday = run("extract", 0, 2, key="2026-11-04", outputs=[data("raw", "2026-11-04")])
    record(database, yesterday, extract(3, 4, "failed"), clean(5, 6))
    item = one(database)
    assert shown(item) == ("stale", [("upstream_missing", "raw", DAY)])
    reason = item.reasons[0]
    assert reason.message == "s3://lake/raw for 2026-11-05 is missing (its run failed)"
    assert (reason.state, reason.since, reason.run) == ("failed", at(4), f"{DAY}@3")


def test_what_nobody_is_known_to_write_is_not_missing(database: Database) -> None:
    record(database, clean(3, 4))
    assert shown(one(database)) == ("fresh", [])


def test_what_was_never_built_says_what_is_missing(database: Database) -> None:
    days = ["2026-11-04"]
    record(database, *(run("extract", 0, 1, key=day, outputs=[data("raw", day)]) for day in days))
    record(database, *(run("clean", 2, 3, key=d, inputs=[data("raw", d)], outputs=[data("orders", d)]) for d in days))
    record(database, extract(3, 4, "failed"))
    for item in (one(database, "orders"), one(database, "clean", kind="task")):
        assert shown(item) == ("not_built", [("upstream_missing", "raw", DAY)])
        assert (item.built_at, item.built_by) == (None, None)


def test_a_task_before_it_that_ran_again_counts_and_one_that_failed_does_not(database: Database) -> None:
    declared(database, {"name": "clean", "consumes": [{"task": {"namespace": "ns", "name": "prepare"}}]})
    record(database, run("clean", 3, 4))
    assert shown(one(database, "clean", kind="task")) == ("fresh", [])
    record(database, run("prepare", 0, 1, "failed"))
    assert shown(one(database, "clean", kind="task")) == ("fresh", [])
    record(database, run("prepare", 5, 6))
    item = one(database, "clean", kind="task")
    assert shown(item) == ("stale", [("upstream_stale", "prepare", DAY)])
    assert item.reasons[0].message.startswith("prepare for 2026-11-05 ran again at 2026-11-06 05:06 UTC, after")


@pytest.mark.parametrize("edge", [{"required": False}, {"staleness": "ignore"}])
def test_edges_that_are_optional_or_ignore_staleness_do_not_count(database: Database, edge: dict[str, Any]) -> None:
    declared(database, {"name": "clean", "consumes": [raw(**edge)]})
    record(database, extract(0, 2), clean(3, 4), extract(10, 11))
    assert shown(one(database)) == ("fresh", [])


def test_a_window_names_the_day_that_changed_and_its_owner(database: Database) -> None:
    produces = [{"namespace": "s3://lake", "name": "raw"}]
    window = raw(mapping={"kind": "window", "from": -1, "to": 0})
    declared(database, {"name": "clean", "consumes": [window]}, {"name": "extract", "produces": produces})
    record(database, extract(0, 2), clean(3, 4))
    record(database, run("extract", 5, 6, key="2026-11-04", outputs=[data("raw", "2026-11-04")]))
    item = one(database)
    assert shown(item) == ("stale", [("upstream_stale", "raw", "2026-11-04")])
    assert item.reasons[0].owner == "team-extract"


def test_what_a_run_updates_in_place_is_none_of_its_upstreams(database: Database) -> None:
    own = [data("orders")]
    record(database, extract(0, 2), run("merge", 3, 4, inputs=[data("raw"), *own], outputs=own))
    record(database, run("merge", 5, 6, inputs=[data("raw"), *own], outputs=own))
    assert shown(one(database)) == ("fresh", [])


def test_a_run_for_several_days_does_not_make_its_own_yesterday_newer(database: Database) -> None:
    produces = [{"namespace": "s3://lake", "name": "orders"}]
    yesterday = {"dataset": produces[0], "mapping": {"kind": "window", "from": -1, "to": -1}}
    declared(database, {"name": "clean", "consumes": [yesterday], "produces": produces})
    outputs = [data("orders", "2026-11-04"), data("orders")]
    record(database, run("clean", 3, 5, outputs=outputs))
    assert shown(one(database)) == ("fresh", [])
    record(database, run("clean", 6, 7, key="2026-11-04", outputs=outputs[:1]))
    assert shown(one(database)) == ("stale", [("upstream_stale", "orders", "2026-11-04")])


def test_an_upstream_whose_partitions_cannot_be_told_makes_it_unknown(database: Database) -> None:
    declared(
        database,
        {
            "name": "clean",
            "consumes": [{**raw(), "mapping": {"kind": "window", "from": -1, "to": 0}}],
            "partitioning": {"kind": "none"},
        },
    )
    whole = {"namespace": "s3://lake", "name": "orders"}
    events = run("clean", 3, 4, outputs=[whole])
    record(database, [{name: value for name, value in event.items() if name != "partition"} for event in events])
    item = one(database, key="")
    assert shown(item) == ("unknown", [("partition_unknown", "raw", None)])


def test_names_that_fit_nothing_or_several_have_an_item_that_says_so(database: Database) -> None:
    record(database, clean(3, 4))
    record(database, run("clean", 3, 4, outputs=[{"namespace": "s3://other", "name": "orders", "partition": DAY}]))
    asked = [
        FreshnessQuestion(name="orders", partition=DAY),
        FreshnessQuestion(name="orders", namespace="s3://other", partition=DAY),
        FreshnessQuestion(name="nobody", kind="task"),
        FreshnessQuestion(name="nobody\0", namespace="s3://lake"),
    ]
    items = freshness(database, "dev", asked, NOW).items
    assert [item.status for item in items] == ["unknown", "fresh", "unknown", "unknown"]
    codes = [[reason.code.value for reason in item.reasons] for item in items]
    assert codes == [["no_such_dataset"], [], ["no_such_task"], ["no_such_dataset"]]
    assert "more than one dataset" in items[0].reasons[0].message
    assert freshness(database, "dev", [], NOW).items == ()


def test_a_partition_that_no_text_can_be_has_an_answer_as_any_other(database: Database) -> None:
    record(database, extract(0, 5), clean(10, 15))
    questions = [FreshnessQuestion(name="orders", partition=key) for key in ("\0", DAY)]
    answered = freshness(database, "dev", questions, NOW).items
    assert [item.status for item in answered] == ["not_built", "fresh"]
    assert readiness(database, "dev", [Named("clean", partition="\0")], NOW).items[0].partition == "\0"


def test_an_alias_means_the_dataset_it_stands_for(database: Database) -> None:
    declared(database, datasets=[{"namespace": "lake", "name": "Orders", "aliases": [named("orders")]}])
    record(database, extract(0, 2), clean(3, 4), extract(10, 11))
    items = ask(database, "orders", "Orders").items
    assert items[0] == items[1]
    assert items[0].node.name == "Orders"
    assert shown(items[0]) == NEWER


def _why(database: Database, name: str, key: str = DAY) -> tuple[bool, list[tuple[str, str | None]], list[str]]:
    answer = verdict(database, "dev", Named(name, "ns", key), NOW)
    alone = readiness(database, "dev", [Named(name, "ns", key)], NOW).items[0]
    assert answer == alone
    return (
        answer.runnable,
        [(reason.code.value, reason.state) for reason in answer.reasons],
        [reason.message for reason in answer.warnings],
    )


def test_a_verdict_on_what_is_done_says_what_has_changed_since(database: Database) -> None:
    record(database, extract(0, 2), clean(3, 4))
    assert _why(database, "clean") == (False, [("already_done", "ready")], [])
    record(database, extract(10_022, 10_024))
    answer = verdict(database, "dev", Named("clean", "ns", DAY), NOW)
    assert (answer.status, answer.runnable) == ("succeeded", False)
    own = next(reason for reason in answer.reasons if reason.code == "already_done")
    assert (own.state, own.message) == ("stale", "it has succeeded, though what it was built from has changed since")
    (warning,) = answer.warnings
    assert (warning.code, warning.partition, warning.since, warning.run) == (
        "upstream_stale",
        DAY,
        at(10_024),
        f"{DAY}@10022",
    )
    assert warning.upstream is not None
    assert warning.upstream.name == "raw"


@pytest.mark.parametrize("staleness", ["ignore", "warn", "block"])
def test_an_upstream_that_is_stale_counts_as_its_edge_says(database: Database, staleness: str) -> None:
    orders = {"dataset": {"namespace": "s3://lake", "name": "orders"}, "staleness": staleness}
    declared(database, {"name": "report", "consumes": [orders]})
    record(database, extract(0, 2), clean(3, 4))
    assert _why(database, "report") == (True, [], [])
    record(database, extract(10, 11))
    said = "orders for 2026-11-05 was built from data that has changed since"
    expected: dict[str, tuple[bool, list[tuple[str, str]], list[str]]] = {
        "ignore": (True, [], []),
        "warn": (True, [], [said]),
        "block": (False, [("upstream_stale", "stale")], []),
    }
    assert _why(database, "report") == expected[staleness]


@pytest.mark.parametrize("state", ["running", "up_for_retry", "failed", "skipped"])
def test_a_cleared_run_makes_nothing_newer_or_missing_before_it_has_succeeded(database: Database, state: str) -> None:
    """It runs again under its own id, and names its outputs when it has written them."""
    record(database, extract(0, 5), clean(10, 15))
    again = extract(30, 35, state)
    record(database, [{**said, "run": f"{DAY}@0", "attempt": 2} for said in again])
    assert [shown(each) for each in ask(database, "raw", "orders").items] == [("fresh", []), ("fresh", [])]
    assert shown(one(database, "clean", kind="task")) == ("fresh", [])


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_what_is_stale_is_listed_page_by_page_where_it_is_asked_for(database: Database, limit: int) -> None:
    record(database, extract(0, 2), clean(3, 4))
    record(database, run("report", 5, 6, inputs=[data("orders")], outputs=[data("report")]), extract(10, 11))
    found, cursor = [], None
    while True:
        wanted = PartitionFilter(kind="dataset", state=PartitionStatus.STALE, limit=limit, cursor=cursor)
        page = partitions(database, "dev", wanted, NOW)
        found += [(item.name, item.state) for item in page.items]
        assert len(page.items) <= limit
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(found) == [("orders", "stale"), ("report", "stale")]
    everything = partitions(database, "dev", PartitionFilter(kind="dataset"), NOW).items
    assert {item.state.value for item in everything} == {"ready"}
