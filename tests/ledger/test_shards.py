"""Shards: a run's manifest is what its events say in any order, and a run that lacks some of it is no success."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge.ingest import native_shard
from dataforge.ingest.batch import BatchResult, record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import checkpoint, replay, verify
from dataforge.ledger import catalog, shard
from dataforge.ledger.checkpoint import Shelf
from dataforge.ledger.declare import declare
from dataforge.ledger.readiness import verdict
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.catalog import PartitionItem, RunItem, ShardItem
from dataforge.model.errors import InvalidInput, NotFound
from dataforge.model.filter import PartitionFilter, RunFilter, ShardFilter
from dataforge.model.question import Named
from dataforge.model.shard import ShardCounts, ShardState
from dataforge.storage import shard as storage
from dataforge.storage.database import Database
from dataforge.storage.signing_key import signing_key

NOON = datetime(2026, 11, 5, 12, tzinfo=UTC)
FILES = {"namespace": "s3://lake", "name": "files"}
DAY = "2026-11-04"
_environments = count()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few shards, so that a short manifest has many."""
    monkeypatch.setattr(storage, "MEAN_SHARDS", 3)


def _event(minutes: float, state: str, *shards: Any, **more: Any) -> dict[str, Any]:
    listed = [{"key": each} if isinstance(each, str) else each for each in shards]
    task = {"namespace": "ns", "name": "load"}
    said = {"time": (NOON + timedelta(minutes=minutes)).isoformat(), "task": task, "run": "r1", "partition": DAY}
    return {**said, "state": state, "shards": listed, "outputs": [FILES], **more}


def _done(key: str, state: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {"key": key, "state": state, **more}


def _new_environment(database: Database) -> str:
    name = f"shards-{next(_environments)}"
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [name])
    return name


def _tried(database: Database, *events: dict[str, Any], environment: str = "dev") -> BatchResult:
    return record_native(database, environment, [json.dumps(event).encode() for event in events], NOTHING)


def _recorded(database: Database, *events: dict[str, Any], environment: str = "dev") -> None:
    assert _tried(database, *events, environment=environment).rejected == []


def _run(database: Database, environment: str = "dev") -> RunItem:
    (found,) = catalog.runs(database, environment, RunFilter(name="load")).items
    return found


def _partition(database: Database, name: str) -> PartitionItem:
    (found,) = catalog.partitions(database, "dev", PartitionFilter(name=name, partition=DAY), NOON).items
    return found


def _listed(database: Database, environment: str = "dev", limit: int = 1_000, **asked: Any) -> list[ShardItem]:
    wanted, found = ShardFilter(name="load", run="r1", limit=limit, **asked), []
    while True:
        page = catalog.shards(database, environment, wanted)
        assert len(page.items) <= limit
        found += page.items
        if page.next_cursor is None:
            return found
        wanted = ShardFilter(name="load", run="r1", limit=limit, cursor=page.next_cursor, **asked)


def _manifest(**load: Any) -> Any:
    daily = {"kind": "daily", "start": "2026-11-01"}
    tasks = [
        {"namespace": "ns", "name": "load", "partitioning": daily, "produces": [FILES], **load},
        {"namespace": "ns", "name": "report", "partitioning": daily, "consumes": [{"dataset": FILES}]},
    ]
    return definition.parse({"source": "s", "tasks": tasks, "datasets": [{**FILES, "partitioning": daily}]})


def test_a_run_all_of_whose_shards_succeeded_or_were_skipped_is_a_success(database: Database) -> None:
    _recorded(
        database,
        _event(0, "running", "a", "b", "c"),
        _event(5, "running", _done("b", "skipped"), _done("a", rows=7)),
        _event(9, "succeeded", _done("c")),
    )
    run = _run(database)
    assert (run.state, run.error, run.shards) == ("succeeded", None, ShardCounts(3, 2, 1, 0, 0))
    assert _partition(database, "files").state == "ready"
    assert _listed(database)[0] == ShardItem("a", ShardState.SUCCEEDED, NOON + timedelta(minutes=5), 7)


def test_a_run_that_lacks_shards_is_no_success_and_the_verdict_says_which(database: Database) -> None:
    declare(database, "dev", _manifest())
    _recorded(
        database,
        _event(0, "running", "a", "b", "c", "d", "e"),
        _event(5, "running", _done("a"), _done("b"), _done("d", "failed")),
        _event(9, "succeeded"),
    )
    said = "1 of 5 shards failed, 2 missing; first: d"
    run = _run(database)
    assert (run.state, run.error, run.evidence) == ("failed", said, "reported")
    assert (run.shards, run.ended_at) == (ShardCounts(5, 2, 0, 1, 2), NOON + timedelta(minutes=9))
    assert [_partition(database, name).state for name in ("load", "files")] == ["failed", "failed"]
    (reason,) = verdict(database, "dev", Named("report", None, DAY), NOON).reasons
    assert (reason.code.value, reason.message) == ("upstream_failed", f"files for {DAY} failed: {said}")
    _recorded(database, _event(20, "running", _done("c"), _done("d"), _done("e")))
    assert (_run(database).state, _partition(database, "files").state) == ("succeeded", "ready")
    assert verdict(database, "dev", Named("report", None, DAY), NOON).runnable


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["pending", "succeeded", "skipped", "failed"]))))
def test_a_partition_whose_only_producer_lists_shards_is_ready_exactly_when_all_of_them_are_there(
    database: Database, told: list[tuple[str, str]]
) -> None:
    environment = _new_environment(database)
    declare(database, environment, _manifest())
    _recorded(database, _event(0, "succeeded", "a", "b", "c"), environment=environment)
    stands = dict.fromkeys("abc", "pending")
    for minute, (key, state) in enumerate(told, 1):
        _recorded(database, _event(minute, "running", _done(key, state)), environment=environment)
        stands[key] = stands[key] if state == "pending" else state
    items = catalog.partitions(database, environment, PartitionFilter(name="files"), NOON).items
    ready = {"pending", "failed"}.isdisjoint(stands.values())
    assert [item.state for item in items] == ["ready" if ready else "failed"]
    assert verdict(database, environment, Named("report", None, DAY), NOON).runnable == ready


def test_shards_that_are_only_missing_are_said_to_be(database: Database) -> None:
    _recorded(database, _event(0, "succeeded", "b", "a", _done("c")))
    assert _run(database).error == "2 of 3 shards missing; first: a"


def test_shards_decide_nothing_before_the_run_has_ended_and_no_other_end(database: Database) -> None:
    _recorded(database, _event(0, "running", "a", _done("b", "failed")))
    assert (_run(database).state, _run(database).error) == ("running", None)
    _recorded(database, _event(9, "canceled"))
    assert (_run(database).state, _run(database).error) == ("canceled", None)


def test_a_task_may_allow_that_some_fail_whenever_it_says_so(database: Database) -> None:
    _recorded(database, _event(0, "succeeded", "a", _done("b", "failed"), _done("c")))
    declare(database, "dev", _manifest(shards={"allow_failed": 2}))
    assert (_run(database).state, _run(database).error, _partition(database, "files").state) == (
        "succeeded",
        None,
        "ready",
    )
    declare(database, "dev", _manifest(shards={"allow_failed": 1}))
    assert _run(database).error == "1 of 3 shards failed, 1 missing; first: b (1 is allowed)"
    assert verify(database, "dev").found.first == ()


@pytest.mark.parametrize("wrong", [-1, 1_000_001, 0.5, "some", True])
def test_an_allowance_that_is_no_number_of_shards_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        _manifest(shards={"allow_failed": wrong})
    (error,) = refused.value.errors
    assert error.field == "tasks[0].shards.allow_failed"


def test_a_person_who_marks_the_run_outranks_its_shards(database: Database) -> None:
    _recorded(database, _event(0, "succeeded", "a"))
    mark = {"control": "mark", "task": {"namespace": "ns", "name": "load"}, "run": "r1", "state": "succeeded"}
    _recorded(database, {**mark, "time": (NOON + timedelta(hours=1)).isoformat(), "by": "ann", "reason": "empty"})
    assert (_run(database).state, _run(database).error) == ("succeeded", None)
    assert _partition(database, "files").state == "ready"


def test_a_later_attempt_need_only_do_what_the_first_left(database: Database) -> None:
    _recorded(
        database,
        _event(0, "failed", "a", "b", _done("c"), error="killed", attempt=1),
        _event(20, "running", attempt=2),
        _event(30, "succeeded", _done("a"), _done("b"), attempt=2),
    )
    assert (_run(database).state, _run(database).attempt) == ("succeeded", 2)


def test_what_lacked_shards_is_not_kept_as_a_success_while_it_runs_again(database: Database) -> None:
    _recorded(database, _event(0, "succeeded", "a", attempt=1), _event(20, "running", attempt=2))
    assert (_partition(database, "files").state, _partition(database, "files").last_ready) == ("running", None)


_KEYS = [f"f{number}" for number in range(12)]
_SHARD = st.fixed_dictionaries(
    {"state": st.sampled_from(["pending", "succeeded", "skipped", "failed"])}, optional={"rows": st.integers(0, 2)}
).map(lambda said: {key: value for key, value in said.items() if key == "state" or said["state"] != "pending"})
_SAID = st.tuples(
    st.integers(0, 3),
    st.sampled_from(["running", "running", "succeeded"]),
    st.dictionaries(st.sampled_from(_KEYS), _SHARD, max_size=5),
)


def _twin(said: list[tuple[int, str, dict[str, Any]]]) -> dict[str, tuple[str, Any]]:
    """Each shard's state and rows: of the ends told the last, of several at once the worst, with most rows."""
    worst = ["succeeded", "skipped", "failed"]
    ends: dict[str, list[tuple[int, int, int]]] = {}
    for at, _, shards in said:
        for key, shard_said in shards.items():
            ends.setdefault(key, [])
            if shard_said["state"] != "pending":
                ends[key].append((at, worst.index(shard_said["state"]), shard_said.get("rows", -1)))
    found = {}
    for key, told in ends.items():
        _, state, rows = max(told, default=(0, -1, -1))
        found[key] = (worst[state] if told else "pending", None if rows < 0 else rows)
    return found


@pytest.mark.usefixtures("small_chunks")
@given(said=st.lists(_SAID, min_size=1, max_size=6), data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_manifest_is_the_same_in_any_order_and_equals_its_twin(
    database: Database, said: list[tuple[int, str, dict[str, Any]]], data: st.DataObject
) -> None:
    events = [_event(at, state, *({"key": key, **each} for key, each in shards.items())) for at, state, shards in said]
    one, other = _new_environment(database), _new_environment(database)
    _recorded(database, *events, environment=one)
    shuffled = data.draw(st.permutations(events))
    cut = data.draw(st.integers(0, len(events)))
    for batch in (shuffled[:cut], shuffled[cut:], shuffled[:1]):
        if batch:
            _recorded(database, *batch, environment=other)
    assert digest(database, one) == digest(database, other)
    assert verify(database, other).found.first == ()
    expected = _twin(said)
    found = {each.key: (each.state.value, each.rows) for each in _listed(database, other, limit=3)}
    assert found == expected
    assert list(found) == sorted(found)
    failed = {key for key, (state, _) in expected.items() if state == "failed"}
    assert {each.key for each in _listed(database, other, limit=2, state=ShardState.FAILED)} == failed
    lacking = failed | {key for key, (state, _) in expected.items() if state == "pending"}
    ended = any(state == "succeeded" for _, state, _ in said)
    assert _run(database, other).state == ("running" if not ended else "failed" if lacking else "succeeded")


@pytest.mark.usefixtures("small_chunks")
def test_a_chunk_that_begins_before_all_others_takes_their_place(database: Database) -> None:
    late, known = next(key for key in _KEYS if storage.begins_chunk(key)), ["g", "i", "j"]
    assert not any(map(storage.begins_chunk, known))
    _recorded(database, _event(0, "running", *known))
    _recorded(database, _event(1, "running", late))
    assert [each.key for each in _listed(database)] == [late, *known]
    assert _run(database).shards == ShardCounts(4, 0, 0, 0, 4)


@pytest.mark.usefixtures("small_chunks")
def test_shards_are_rebuilt_from_a_checkpoint(database: Database, tmp_path: Path) -> None:
    key = signing_key(tmp_path / "keys")
    _recorded(database, _event(0, "running", *_KEYS), _event(5, "running", *map(_done, _KEYS[:6])))
    shelf = Shelf(tmp_path / "checkpoints", "dev", key.public)
    assert checkpoint(database, "dev", shelf, key, NOON).checkpoint is not None
    _recorded(database, _event(9, "succeeded", *map(_done, _KEYS[6:])))
    found = verify(database, "dev", shelf=shelf)
    assert (found.found.first, found.events) == ((), 1)
    assert _run(database).state == "succeeded"


def test_a_manifest_that_is_not_what_events_said_is_found_and_mended(database: Database) -> None:
    _recorded(database, _event(0, "succeeded", _done("a"), _done("b")))
    before = digest(database, "dev")
    with database.transaction() as connection:
        connection.execute("update shard_chunk set hash = decode(md5('x'), 'hex')")
    assert "shard_chunk" in {each.table for each in verify(database, "dev").found.first}
    replay(database, "dev")
    assert digest(database, "dev") == before
    assert [each.key for each in _listed(database)] == ["a", "b"]


def test_an_event_that_says_nonsense_of_shards_is_refused_field_by_field(database: Database) -> None:
    (refused,) = _tried(
        database,
        _event(0, "running", "a", "a", "", "k" * 513, {"key": "b", "rows": 1}, _done("c", rows=-1)),
    ).rejected
    assert [error.field for error in refused.errors] == [
        *("shards[1].key", "shards[2].key", "shards[3].key", "shards[4].rows", "shards[5].rows")
    ]
    (refused,) = _tried(database, _event(0, "running", _done("a", "done"))).rejected
    assert refused.errors[0].field == "shards[0].state"


def test_more_shards_than_an_event_or_a_run_may_have_are_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_shard, "MOST_SHARDS", 3)
    monkeypatch.setattr(shard, "MOST_SHARDS", 5)
    (refused,) = _tried(database, _event(0, "running", *"abcd")).rejected
    assert refused.errors[0].expected == "at most 3; send several events"
    found = _tried(database, _event(0, "running", *"abc"), _event(1, "running", *"def"), _event(2, "running", *"ad"))
    assert [(each.index, each.errors[0].field) for each in found.rejected] == [(1, "shards")]
    assert "at most 5 shards of one run" in found.rejected[0].errors[0].expected
    assert [each.key for each in _listed(database)] == ["a", "b", "c", "d"]


@pytest.mark.usefixtures("small_chunks")
def test_a_page_unpacks_a_bounded_number_of_chunks_and_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "MOST_CHUNKS", 2)
    names = [f"file{number:03}" for number in range(100)]
    _recorded(database, _event(0, "running", *names, _done("file100", "failed"), _done("zero", "failed")))
    page = catalog.shards(database, "dev", ShardFilter(name="load", run="r1", limit=1_000))
    assert len(page.items) < 50
    assert page.next_cursor is not None
    assert [each.key for each in _listed(database)] == [*names, "file100", "zero"]
    assert [each.key for each in _listed(database, state=ShardState.FAILED)] == ["file100", "zero"]


def test_a_run_without_shards_has_an_empty_list_and_one_that_nobody_knows_none(database: Database) -> None:
    _recorded(database, _event(0, "succeeded"))
    assert (_listed(database), _run(database).shards) == ([], None)
    with pytest.raises(NotFound):
        catalog.shards(database, "dev", ShardFilter(name="load", run="r2"))
