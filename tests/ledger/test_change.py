"""The feed of changes: whoever follows it ends with the present, whatever the pages and whatever commits late."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest import native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import verify
from dataforge.ledger.change import changes, latest
from dataforge.ledger.declare import declare
from dataforge.ledger.record import apply, record
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.errors import InvalidInput, NotFound
from dataforge.model.state import RunState
from dataforge.storage import environment as environments
from dataforge.storage.database import Database
from tests.ledger.change_feed import DAYS, START, Mirror, agrees, event, follow, keep, mirrored, new_environment, send

on_one_database = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
native_events = st.fixed_dictionaries(
    {
        "time": st.integers(0, 60).map(lambda minutes: (START + timedelta(minutes=minutes)).isoformat()),
        "task": st.sampled_from(["load", "clean"]).map(lambda name: {"namespace": "ns", "name": name}),
        "run": st.sampled_from(["r1", "r2", "r3"]),
        "attempt": st.integers(1, 2),
        # A run is of the greatest partition that its events name: so it leaves others, and they are cleared.
        "partition": st.sampled_from(DAYS[:3]),
        "state": st.sampled_from(["running", "up_for_retry", "succeeded", "skipped", "failed"]),
    },
    optional={"outputs": st.just([{"namespace": "s3://lake", "name": "orders", "rows": 3}])},
)
batches = st.lists(st.lists(native_events, min_size=1, max_size=6), min_size=1, max_size=5)


@on_one_database
@given(batches, st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 3))
def test_a_reader_ends_with_the_present_states_whatever_the_pages(
    database: Database, said: list[list[dict[str, Any]]], sizes: list[int], pages: int
) -> None:
    environment = new_environment(database)
    mirror: Mirror = {}
    after: str | None = None
    for batch in said:
        send(database, *batch, environment=environment)
        for turn in range(pages):  # reads a little of it, and more is recorded meanwhile
            page = changes(database, environment, after, sizes[turn % len(sizes)])
            keep(mirror, page.items)
            after = page.position
    after = follow(database, mirror, after, environment, sizes)
    assert agrees(database, mirror, environment)
    assert changes(database, environment, after).items == ()
    again = mirrored(database, environment)
    assert {place: item.mirror_id for place, item in mirror.items()} == {p: item.mirror_id for p, item in again.items()}


@on_one_database
@given(st.lists(native_events, min_size=1, max_size=15), st.integers(0, 2**20))
def test_the_same_facts_in_another_order_have_the_same_mirror_ids(
    database: Database, events: list[dict[str, Any]], seed: int
) -> None:
    random, forward, shuffled = Random(seed), new_environment(database), new_environment(database)
    send(database, *events, environment=forward)
    for each in random.sample([*events, *events], k=2 * len(events)):
        send(database, each, environment=shuffled)
    one, other = mirrored(database, forward), mirrored(database, shuffled)
    assert {place: item.mirror_id for place, item in one.items()} == {p: item.mirror_id for p, item in other.items()}


@on_one_database
@given(st.lists(native_events, min_size=1, max_size=15))
def test_what_is_derived_anew_and_stays_as_it_was_is_no_change(
    database: Database, events: list[dict[str, Any]]
) -> None:
    environment = new_environment(database)
    send(database, *events, environment=environment)
    after = follow(database, {}, None, environment)
    with database.transaction() as connection:
        locked = environments.lock(connection, environment)
        apply(connection, locked.id, [native.parse(each, NOTHING) for each in events], locked.last_part)
    assert changes(database, environment, after).items == ()
    assert changes(database, environment, after).position == after


def test_what_commits_late_is_not_missed(database: Database) -> None:
    """The transaction that began first writes last: until it is over, the feed shows nothing that came after it."""
    start = changes(database, "dev").position
    with database.transaction() as slow:
        slow.execute("select pg_current_xact_id()")
        send(database, event("succeeded", partition="2026-11-01"))
        during = changes(database, "dev", start)
        assert during.items == ()
        late = native.parse(event("failed", partition="2026-11-02"), NOTHING)
        record(slow, environments.lock(slow, "dev"), [late])
        assert changes(database, "dev", during.position).items == ()
    items = changes(database, "dev", during.position).items
    assert {item.partition: item.status for item in items} == {"2026-11-01": "ready", "2026-11-02": "failed"}


def test_a_transaction_in_any_database_of_the_cluster_holds_the_feed_back(
    database: Database, empty_database_url: str
) -> None:
    with psycopg.connect(empty_database_url) as elsewhere:
        elsewhere.execute("select 1")  # who only reads holds nothing back
        send(database, event("succeeded", partition="2026-11-01"))
        assert len(changes(database, "dev").items) == 1
        elsewhere.execute("select pg_current_xact_id()")
        send(database, event("succeeded", partition="2026-11-02"))
        assert len(changes(database, "dev").items) == 1
    assert len(changes(database, "dev").items) == 2


def test_pages_go_on_within_one_transaction(database: Database) -> None:
    send(database, *(event("succeeded", partition=day) for day in DAYS))
    first = changes(database, "dev", limit=7)
    send(database, event("failed", 5, partition=DAYS[0]))
    mirror: Mirror = {}
    keep(mirror, first.items)
    follow(database, mirror, first.position, sizes=[7])
    assert len(mirror) == len(DAYS)
    assert agrees(database, mirror)


def test_one_kind_is_read_to_its_end(database: Database) -> None:
    outputs = [{"namespace": "lake", "name": "orders"}]
    send(database, *(event("succeeded", partition=day, outputs=outputs) for day in DAYS))
    after, seen = None, []
    while True:
        page = changes(database, "dev", after, limit=4, kind="dataset")
        seen += [item.partition for item in page.items]
        assert {item.kind for item in page.items} <= {"dataset"}
        after = page.position
        if not page.more:
            break
    assert sorted(filter(None, seen)) == DAYS
    assert changes(database, "dev", after, kind="task").items == ()


def test_a_cleared_partition_is_missing_in_the_feed_and_nowhere_else(database: Database) -> None:
    send(database, event("running", run="r", partition="2026-11-01"))
    mirror: Mirror = {}
    after = follow(database, mirror)
    send(database, event("running", 1, run="r", partition="2026-11-02"))
    page = changes(database, "dev", after)
    assert {item.partition: item.status for item in page.items} == {"2026-11-01": "missing", "2026-11-02": "running"}
    gone = next(item for item in page.items if item.partition == "2026-11-01")
    assert (gone.namespace, gone.name, gone.state, gone.producer, gone.ready) == ("ns", "load", None, None, None)
    keep(mirror, page.items)
    assert agrees(database, mirror)
    straight = new_environment(database)
    for minute, day in ((1, "2026-11-02"), (0, "2026-11-01")):
        send(database, event("running", minute, run="r", partition=day), environment=straight)
    assert digest(database, "dev") == digest(database, straight)
    assert verify(database, "dev").difference is None


def test_a_partition_that_comes_back_is_shown_by_its_state(database: Database) -> None:
    send(database, event("running", run="r", partition="2026-11-01"))
    send(database, event("running", 1, run="r", partition="2026-11-02"))
    after = follow(database, {})
    send(database, event("succeeded", 2, run="s", partition="2026-11-01"))
    items = changes(database, "dev", after).items
    assert [(item.partition, item.status) for item in items] == [("2026-11-01", "ready")]
    for size in (1, 2):
        mirror: Mirror = {}
        follow(database, mirror, sizes=[size])
        assert {place[3]: item.status for place, item in mirror.items()} == {
            "2026-11-01": "ready",
            "2026-11-02": "running",
        }


def test_a_dataset_is_named_canonically_and_leaves_the_name_it_had(database: Database) -> None:
    send(database, event("succeeded", partition="p", outputs=[{"namespace": "glue", "name": "lake.orders"}]))
    mirror: Mirror = {}
    after = follow(database, mirror)
    said = {"namespace": "s3://lake", "name": "orders", "aliases": [{"namespace": "glue", "name": "lake.orders"}]}
    manifest = definition.parse({"source": "repo", "datasets": [said]})
    declare(database, "dev", manifest)
    page = changes(database, "dev", after, kind="dataset")
    assert {(item.name, item.status) for item in page.items} == {("lake.orders", "missing"), ("orders", "ready")}
    keep(mirror, page.items)
    assert agrees(database, mirror)


def test_a_state_says_which_run_made_it_what_its_platform_calls_it_why_it_failed_and_whose_it_is(
    database: Database,
) -> None:
    owned = definition.parse({"source": "test", "tasks": [{"namespace": "ns", "name": "load", "owner": "team"}]})
    declare(database, "dev", owned)
    outputs = [{"namespace": "lake", "name": "orders", "version": "v1", "rows": 12}]
    good: dict[str, Any] = {"run": "a", "partition": "p", "outputs": outputs, "source": {"job": 1}}
    send(database, event("up_for_retry", 0, attempt=1, **good), event("succeeded", 1, attempt=2, **good))
    bad: dict[str, Any] = {
        "run": "b",
        "partition": "p",
        "outputs": [{**outputs[0], "version": "v2"}],
        "source": {"job": 2},
    }
    send(database, event("running", 5, **bad), event("failed", 6, error="no space left", **bad))
    (item,) = changes(database, "dev", kind="dataset").items
    assert (item.status, item.state, item.version, item.rows) == ("failed", "failed", "v2", 12)
    assert item.producer is not None
    assert item.ready is not None
    assert (item.producer.task.name, item.producer.run, item.producer.attempt) == ("load", "b", 1)
    assert (item.producer.state, item.producer.source) == (RunState.FAILED, {"job": 2})
    assert (item.ready.version, item.ready.since) == ("v1", START + timedelta(minutes=1))
    made = item.ready.producer
    assert (made.run, made.attempt, made.state, made.source) == ("a", 2, RunState.SUCCEEDED, {"job": 1})
    assert (item.producer.error, made.error, item.owner) == ("no space left", None, "team")


def test_now_leaves_out_what_was(database: Database) -> None:
    empty = changes(database, "dev", "now")
    assert changes(database, "dev", empty.position).items == ()
    send(database, event("succeeded", partition="2026-11-01"))
    assert len(changes(database, "dev", empty.position).items) == 1
    now = changes(database, "dev", "now")
    assert (now.items, now.more) == ((), False)
    assert now.position == changes(database, "dev").position
    send(database, event("succeeded", partition="2026-11-02"))
    assert [item.partition for item in changes(database, "dev", now.position).items] == ["2026-11-02"]


def test_the_latest_states_are_the_newest_partitions_of_each_dataset(database: Database) -> None:
    for name in ("orders", "payments"):
        outputs = [{"namespace": "lake", "name": name}]
        send(database, *(event("succeeded", name=f"load_{name}", partition=day, outputs=outputs) for day in DAYS))
    said = {"namespace": "lake", "name": "orders", "aliases": [{"namespace": "glue", "name": "orders"}]}
    manifest = definition.parse({"source": "repo", "datasets": [said]})
    declare(database, "dev", manifest)
    asked = [("lake", "payments"), ("glue", "orders"), ("lake", "orders"), ("lake", "unheard of")]
    found = latest(database, "dev", asked, 3)
    newest = DAYS[:-4:-1]
    assert [(item.name, item.partition) for item in found] == [
        (n, day) for n in ("orders", "payments") for day in newest
    ]
    followed = mirrored(database)
    assert all(followed["dataset", item.namespace, item.name, item.partition] == item for item in found)


def test_what_is_asked_for_is_bounded(database: Database) -> None:
    for field, ask in (
        ("limit", lambda: changes(database, "dev", limit=0)),
        ("limit", lambda: changes(database, "dev", limit=1_001)),
        ("each", lambda: latest(database, "dev", [("lake", "orders")], 1_001)),
        ("each", lambda: latest(database, "dev", [("lake", "orders")] * 1_000, 51)),
        ("datasets", lambda: latest(database, "dev", [("lake", "orders")] * 1_001, 1)),
    ):
        with pytest.raises(InvalidInput) as refused:
            ask()
        assert [error.field for error in refused.value.errors] == [field]
    assert latest(database, "dev", [], 30) == ()
    with pytest.raises(NotFound):
        changes(database, "nowhere")
