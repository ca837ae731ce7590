"""Datasets that come when they usually do, or later: the rule, and the ledger that is asked about many of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.arrival import arrivals
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.model.arrival import GRACE, Arrival, ArrivalQuestion, Came, judged
from dataforge.model.due import Due
from dataforge.model.partition import Partitioning
from dataforge.model.verdict import NodeRef
from dataforge.storage.database import Database

DAILY = Partitioning(kind="daily", start="2026-11-01", end="2026-12-01")
FIRST = datetime(2026, 11, 1, tzinfo=UTC)
KNOWN = Arrival(node=NodeRef("dataset", "s3://lake", "orders"), declared=True, observed=True)
minutes = st.integers(1, 3_000).map(lambda number: timedelta(minutes=number))


def day(number: int) -> str:
    return (FIRST + timedelta(days=number)).date().isoformat()


def came(lags: dict[int, timedelta]) -> list[Came]:
    """Successes so long after the ends of their days."""
    return [Came(day(number), FIRST + timedelta(days=number + 1) + lag) for number, lag in lags.items()]


@given(
    lags=st.dictionaries(st.integers(0, 19), minutes, min_size=3),
    now=st.integers(0, 40 * 24).map(lambda hours: FIRST + timedelta(hours=hours)),
)
def test_a_window_is_late_once_it_takes_longer_than_nine_in_ten_and_twice_the_usual(
    lags: dict[int, timedelta], now: datetime
) -> None:
    found = judged(KNOWN, DAILY, came(lags), now)
    ordered = sorted(lags.values())
    longest = max(lag for lag in ordered if sum(each < lag for each in ordered) < 0.9 * len(ordered))
    usual = timedelta(seconds=median(lag.total_seconds() for lag in ordered))
    after = [number for number in range(max(lags) + 1, 30) if FIRST + timedelta(days=number + 1) <= now]
    due = [FIRST + timedelta(days=number + 1) + max(longest, 2 * usual) + GRACE for number in after]
    assert (found.last, found.awaited) == (day(max(lags)), day(after[0]) if after else None)
    assert found.late == sum(each < now for each in due)
    assert found.expected_at == (FIRST + timedelta(days=after[0] + 1) + usual if after else None)


def test_a_day_that_was_run_again_a_week_later_changes_nothing() -> None:
    usual = dict.fromkeys(range(14), timedelta(minutes=20))
    now = FIRST + timedelta(days=15, hours=2)
    again = usual | {3: timedelta(days=8)}
    assert judged(KNOWN, DAILY, came(again), now) == judged(KNOWN, DAILY, came(usual), now)
    assert judged(KNOWN, DAILY, came(again), now).late == 1


def test_what_is_due_is_late_from_then_on_and_not_before_whenever_it_usually_comes() -> None:
    often, once = came(dict.fromkeys(range(5), timedelta(hours=20))), came({0: timedelta(hours=1)})
    due = Due(at="06:00")
    for history, days in ((often, 5), (once, 1)):
        end = FIRST + timedelta(days=days + 1)
        early = judged(KNOWN, DAILY, history, end + timedelta(hours=6), due)
        assert (early.awaited, early.due_at, early.late) == (day(days), end + timedelta(hours=6), 0)
        assert judged(KNOWN, DAILY, history, end + timedelta(hours=6, minutes=1), due).late == 1
    assert judged(KNOWN, DAILY, often, FIRST + timedelta(days=6, hours=21), None).late == 0


def test_what_came_too_seldom_or_has_no_windows_is_never_late() -> None:
    two, later = came(dict.fromkeys(range(2), timedelta(minutes=5))), FIRST + timedelta(days=25)
    assert judged(KNOWN, DAILY, two, later) == Arrival(
        node=KNOWN.node, declared=True, observed=True, last=day(1), usual_seconds=None
    )
    assert judged(KNOWN, Partitioning(kind="static", keys=("eu",)), [Came("eu", FIRST)], later) == KNOWN
    assert judged(KNOWN, None, two, later) == KNOWN


MANIFEST: dict[str, Any] = {
    "tasks": [
        {
            "namespace": "shell",
            "name": name,
            "owner": f"team-{name}",
            "partitioning": {"kind": "daily", "start": "2026-11-01"},
            "produces": [{"namespace": "s3://lake", "name": name}],
        }
        for name in ("orders", "payments", "never")
    ],
    "datasets": [{"namespace": "s3://lake", "name": "orders", "aliases": [{"namespace": "glue://1", "name": "o"}]}],
}


def ran(name: str, number: int) -> dict[str, Any]:
    return {
        "time": (FIRST + timedelta(days=number + 1, minutes=20)).isoformat(),
        "task": {"namespace": "shell", "name": name},
        "partition": day(number),
        "run": day(number),
        "state": "succeeded",
        "outputs": [{"namespace": "s3://lake", "name": name, "partition": day(number)}],
    }


def test_many_are_answered_in_the_order_asked_by_any_of_their_names(database: Database) -> None:
    declare(database, "dev", definition.parse(MANIFEST, "lake"))
    days = [("orders", range(6)), ("payments", range(4))]
    events = [ran(name, number) for name, numbers in days for number in numbers]
    assert record_native(database, "dev", events, NOTHING).applied == len(events)
    asked = [("s3://lake", "payments"), ("glue://1", "o"), (None, "never"), (None, "nobody")]
    questions = [ArrivalQuestion(name=name, namespace=namespace) for namespace, name in asked]
    found = arrivals(database, "dev", questions, FIRST + timedelta(days=6, hours=1))
    payments, orders, never, nobody = found.items
    assert (payments.last, payments.usual_seconds, payments.awaited, payments.late) == (day(3), 1_200.0, day(4), 2)
    assert payments.expected_at == FIRST + timedelta(days=5, minutes=20)
    assert (orders.node.name, orders.last, orders.awaited, orders.late) == ("orders", day(5), None, 0)
    assert (never.declared, never.observed, never.owner, never.last) == (True, False, "team-never", None)
    assert nobody == Arrival(node=NodeRef("dataset", "", "nobody"))


def test_a_task_that_ran_and_was_never_seen_to_write_leaves_its_dataset_unseen(database: Database) -> None:
    declare(database, "dev", definition.parse(MANIFEST, "lake"))
    silent = {**ran("never", 0)}
    del silent["outputs"]
    record_native(database, "dev", [silent], NOTHING)
    [found] = arrivals(database, "dev", [ArrivalQuestion(name="never")], FIRST + timedelta(days=3)).items
    assert (found.declared, found.observed) == (True, False)


def test_a_dataset_is_due_as_it_says_itself_and_else_as_what_writes_it_agrees(database: Database) -> None:
    daily = {"kind": "daily", "start": "2026-11-01"}

    def task(name: str, *written: str, **more: Any) -> dict[str, Any]:
        produces = [{"namespace": "s3://lake", "name": each} for each in written]
        return {"namespace": "ns", "name": name, "partitioning": daily, "produces": produces, **more}

    named = [{"namespace": "s3://lake", "name": "own", "partitioning": daily, "due": {"after": "PT1H"}}]
    tasks = [task("a", "own", "agreed", "apart", due={"after": "PT2H"}), task("b", "apart", due={"after": "PT3H"})]
    declare(database, "dev", definition.parse({"source": "due", "tasks": tasks, "datasets": named}))
    written = [{"namespace": "s3://lake", "name": each, "partition": day(0)} for each in ("own", "agreed", "apart")]
    events = [
        {
            "time": f"{day(1)}T00:30:00Z",
            "task": {"namespace": "ns", "name": name},
            "run": day(0),
            "partition": day(0),
            "state": "succeeded",
            "outputs": written if name == "a" else written[2:],
        }
        for name in ("a", "b")
    ]
    assert record_native(database, "dev", events, NOTHING).rejected == []
    asked = [ArrivalQuestion(name=each) for each in ("own", "agreed", "apart")]
    found = arrivals(database, "dev", asked, FIRST + timedelta(days=2, hours=1, minutes=30)).items
    ends = FIRST + timedelta(days=2)
    assert [each.due_at for each in found] == [ends + timedelta(hours=1), ends + timedelta(hours=2), None]
    assert [each.late for each in found] == [1, 0, 0]
