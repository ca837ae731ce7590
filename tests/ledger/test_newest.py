"""The feed read from its end: who goes on with what is left ends with the present, and is shown the newest first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ledger import newest as module
from dataforge.ledger.change import changes, latest
from dataforge.ledger.declare import declare
from dataforge.ledger.newest import newest
from dataforge.model import definition
from dataforge.model.change import Newest
from dataforge.model.errors import InvalidInput
from dataforge.model.state import PartitionStatus
from dataforge.storage.database import Database
from tests.ledger.change_feed import DAYS, Mirror, event, keep, new_environment, send

LAKE = "s3://lake"
ORDERS, PAYMENTS, RETURNS = ((LAKE, name) for name in ("orders", "payments", "returns"))


def written(name: str, day: str, state: str = "succeeded", minute: int = 0, run: str = "r1") -> dict[str, Any]:
    outputs = [{"namespace": LAKE, "name": name, "partition": day}]
    return event(state, minute, name=f"load_{name}", partition=day, run=f"{day} {run}", outputs=outputs)


class Reader:
    """Follows some datasets as a mirror does: what does not fit into a question stays for later, a span for each."""

    def __init__(self, database: Database, environment: str) -> None:
        self.database, self.environment = database, environment
        self.mirror: Mirror = {}
        self.position: str | None = None
        self.left: list[tuple[str | None, str]] = []

    def ask(self, limit: int, after: str | None, before: str | None = None) -> Newest:
        page = newest(self.database, self.environment, [ORDERS, PAYMENTS], after, before, limit)
        assert len(page.items) <= limit
        keep(self.mirror, page.items)
        if page.rest:
            self.left.insert(0, (after, page.rest))
        return page

    def look(self, limit: int) -> None:
        self.position = self.ask(limit, self.position).position

    def catch_up(self, limit: int) -> None:
        self.ask(limit, *self.left.pop(0))


looked = st.tuples(st.just("look"), st.integers(1, 3))
caught_up = st.tuples(st.just("catch up"), st.integers(1, 3))
recorded = st.tuples(
    st.just("record"),
    st.sampled_from(["orders", "payments", "returns"]),
    st.sampled_from(DAYS[:4]),
    st.sampled_from(["running", "succeeded", "failed"]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(recorded, recorded, looked, caught_up), max_size=25), st.integers(3, 30))
def test_a_reader_who_comes_back_to_what_was_left_ends_with_the_present_states(
    database: Database, steps: list[tuple[Any, ...]], most: int
) -> None:
    reader = Reader(database, new_environment(database))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_LOOKED_AT", most)
        for minute, step in enumerate(steps):
            match step:
                case ("record", name, day, state):
                    send(database, written(name, day, state, minute, f"r{minute}"), environment=reader.environment)
                case ("look", limit):
                    reader.look(limit)
                case ("catch up", limit) if reader.left:
                    reader.catch_up(limit)
        reader.look(10)
        while reader.left:
            reader.catch_up(10)
    present = latest(database, reader.environment, [ORDERS, PAYMENTS])
    assert {place: item.mirror_id for place, item in reader.mirror.items()} == {
        (item.kind, item.namespace, item.name, item.partition): item.mirror_id for item in present
    }


def test_the_newest_is_shown_first_and_what_is_left_counts_what_was_seen(database: Database) -> None:
    for day in DAYS[:5]:
        send(database, written("orders", day))
    first = newest(database, "dev", [ORDERS], limit=2)
    assert [item.partition for item in first.items] == [DAYS[4], DAYS[3]]
    assert (first.waiting, first.position) == (3, changes(database, "dev", "now").position)
    second = newest(database, "dev", [ORDERS], before=first.rest, limit=3)
    assert [item.partition for item in second.items] == [DAYS[2], DAYS[1], DAYS[0]]
    assert (second.waiting, second.rest) == (0, None)


def test_a_state_that_is_replaced_while_it_waits_is_not_shown_any_more(database: Database) -> None:
    for day in DAYS[:3]:
        send(database, written("orders", day))
    first = newest(database, "dev", [ORDERS], limit=1)
    send(database, written("orders", DAYS[0], "failed", 9, "r2"))
    left = newest(database, "dev", [ORDERS], before=first.rest)
    assert [item.partition for item in left.items] == [DAYS[1]]
    fresh = newest(database, "dev", [ORDERS], first.position)
    assert [(item.partition, item.status) for item in fresh.items] == [(DAYS[0], "failed")]


def test_other_datasets_and_tasks_are_not_shown_and_a_question_of_them_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LOOKED_AT", 4)
    send(database, written("orders", DAYS[0]))
    for day in DAYS[:3]:
        send(database, written("returns", day))
    page = newest(database, "dev", [ORDERS])
    assert (page.items, page.waiting) == ((), 0)
    while page.rest:
        page = newest(database, "dev", [ORDERS], before=page.rest)
    assert [(item.name, item.partition) for item in page.items] == [("orders", DAYS[0])]


def test_what_was_cleared_is_shown_as_missing(database: Database) -> None:
    send(database, written("orders", DAYS[0]))
    position = newest(database, "dev", [ORDERS]).position
    alias = {"namespace": LAKE, "name": "orders"}
    sales = {"namespace": LAKE, "name": "sales", "aliases": [alias]}
    declare(database, "dev", definition.parse({"source": "test", "datasets": [sales]}))
    [cleared] = newest(database, "dev", [ORDERS], position).items
    assert (cleared.name, cleared.status) == ("orders", PartitionStatus.MISSING)


def test_a_position_of_another_history_begins_anew_and_a_rest_of_one_is_covered_by_that(
    database: Database,
) -> None:
    send(database, written("orders", DAYS[0]))
    elsewhere = newest(database, new_environment(database), [ORDERS]).position
    assert len(newest(database, "dev", [ORDERS], elsewhere).items) == 1
    assert newest(database, "dev", [ORDERS], before=elsewhere).items == ()


def test_latest_states_may_be_asked_for_by_status(database: Database) -> None:
    for place, state in enumerate(["failed", "succeeded", "running", "succeeded"]):
        send(database, written("orders", DAYS[place], state, place))
    wanted = [PartitionStatus.FAILED, PartitionStatus.RUNNING]
    found = latest(database, "dev", [ORDERS], 30, wanted)
    assert [(item.partition, item.status) for item in found] == [(DAYS[2], "running"), (DAYS[0], "failed")]
    assert [item.partition for item in latest(database, "dev", [ORDERS], 2, wanted)] == [DAYS[2]]


@pytest.mark.parametrize(
    ("asked", "field"),
    [({"after": "x"}, "after"), ({"before": "now"}, "before"), ({"limit": 0}, "limit"), ({"limit": 1_001}, "limit")],
)
def test_a_question_that_means_nothing_names_its_field(database: Database, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        newest(database, "dev", [ORDERS], **asked)
    assert [error.field for error in refused.value.errors] == [field]


def test_too_many_datasets_are_refused(database: Database) -> None:
    with pytest.raises(InvalidInput, match="at most 10,000 datasets"):
        newest(database, "dev", [ORDERS] * 10_001)
