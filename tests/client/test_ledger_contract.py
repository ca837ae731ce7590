"""One contract for every way to the ledger: equal questions have equal answers, equal mistakes equal errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from dataforge.client import (
    ArrivalQuestion,
    ClaimRefused,
    DatasetFilter,
    Fenced,
    FindingFilter,
    FreshnessQuestion,
    KeyFilter,
    Ledger,
    Named,
    Outcome,
    PartitionFilter,
    RejectFilter,
    RunFilter,
    TaskFilter,
    UpdateFilter,
    each,
    request,
)
from dataforge.model.arrival import Arrivals
from dataforge.model.backfill import BackfillFilter, Backfilling, ItemFilter, Target
from dataforge.model.claim import ClaimingEach, ClaimingTogether, EndOf, Member
from dataforge.model.declaration import CycleError, Declared
from dataforge.model.errors import Conflict, DataForgeError, InvalidInput, NotFound
from dataforge.model.freshness import FreshnessAnswers
from dataforge.model.question import Answers
from dataforge.model.recorded import BatchAnswer, Recorded
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.model.state import PartitionStatus, RunState
from dataforge.model.verdict import Code, Status, Unanswered, Verdict
from dataforge.storage.database import Database
from tests.client.conftest import Ways, every_way

DAY = "2026-11-01"
ORDERS = DatasetRef("s3://lake", "orders")
_ANY_TIME = datetime(2026, 11, 2, 8, tzinfo=UTC)
MANIFEST: dict[str, Any] = {
    "tasks": [
        {
            "namespace": "shell",
            "name": "orders.load",
            "owner": "team-orders@example.com",
            "partitioning": {"kind": "daily", "start": DAY},
            "produces": [{"namespace": "s3://lake", "name": "orders"}],
        },
        {
            "namespace": "shell",
            "name": "orders.report",
            "partitioning": {"kind": "daily", "start": DAY},
            "consumes": [{"dataset": {"namespace": "s3://lake", "name": "orders"}}],
        },
    ],
    "pools": [{"name": "warehouse", "slots": 8}],
}
"""The second task waits for what the first writes."""

ALARM: dict[str, Any] = {
    "tasks": [
        {
            "namespace": "shell",
            "name": "orders.alarm",
            "trigger": {"dataset": {"namespace": "s3://lake", "name": "orders"}},
        }
    ],
}
"""A task that every update of the dataset triggers."""


def event(minute: int, state: str, name: str = "orders.load", **more: Any) -> dict[str, Any]:
    """A native event of the first task, or of another."""
    task = {"namespace": "shell", "name": name}
    return {"time": f"2026-11-02T06:{minute:02}:00Z", "task": task, "partition": DAY, "state": state, **more}


def openlineage(minute: int, **more: Any) -> dict[str, Any]:
    """An OpenLineage event of a scheduler that has no rules of its own."""
    return {
        "eventType": "COMPLETE",
        "eventTime": f"2026-11-02T07:{minute:02}:00Z",
        "producer": "https://example.com/scheduler",
        "run": {"runId": "019a3f3e-7a00-7000-8000-000000000001"},
        "job": {"namespace": "cron", "name": "orders.load"},
        "inputs": [{"namespace": "s3://lake", "name": "orders"}],
        **more,
    }


HISTORY = [
    event(0, "running"),
    event(5, "succeeded", outputs=[{"namespace": "s3://lake", "name": "orders", "partition": DAY, "rows": 12}]),
    event(4, "running", "orders.report"),
    event(7, "failed", "orders.report", error="disk full", attempt=1),
    event(8, "running", partition="2026-11-02"),
]


@pytest.fixture(scope="module")
def ways(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """The ledger by every way, with a history that no test adds to."""
    with every_way(module_database.url, tmp_path_factory.mktemp("ledger")) as ways:
        ways["direct"].declare("shop", MANIFEST)
        ways["direct"].declare("alarm", ALARM)
        ways["direct"].record([*HISTORY, {"time": "soon"}])
        ways["direct"].lineage([openlineage(0)])
        yield ways


QUESTIONS: dict[str, Callable[[Ledger], object]] = {
    "readiness": lambda ledger: ledger.readiness(
        [
            Named("orders.report", "shell", DAY),
            Named("orders.report", partition="2026-11-02"),
            Named("orders.load", partition=DAY),
            Named("nobody"),
        ]
    ),
    "freshness": lambda ledger: ledger.freshness(
        [
            FreshnessQuestion(name="orders", namespace="s3://lake", partition=DAY),
            FreshnessQuestion(name="orders.report", kind="task", partition=DAY),
            FreshnessQuestion(name="nobody"),
        ]
    ),
    "arrivals": lambda ledger: ledger.arrivals([ArrivalQuestion(name="orders"), ArrivalQuestion(name="nobody")]),
    "changes": lambda ledger: ledger.changes(limit=2),
    "changes of tasks": lambda ledger: ledger.changes(kind="task"),
    "latest": lambda ledger: ledger.latest([ORDERS, DatasetRef("s3://lake", "nobody")], each=2),
    "latest that are ready": lambda ledger: ledger.latest([ORDERS], statuses=[PartitionStatus.READY]),
    "newest": lambda ledger: ledger.newest([ORDERS, DatasetRef("s3://lake", "nobody")], limit=1),
    "tasks": lambda ledger: ledger.tasks(TaskFilter(namespace="shell")),
    "datasets": lambda ledger: ledger.datasets(DatasetFilter(name="orders")),
    "runs": lambda ledger: ledger.runs(RunFilter(state=RunState.FAILED)),
    "attempts": lambda ledger: ledger.runs(RunFilter(attempts=True, limit=2)),
    "runs of a time": lambda ledger: ledger.runs(RunFilter(since=datetime(2026, 11, 2, 6, 7, tzinfo=UTC))),
    "partitions": lambda ledger: ledger.partitions(PartitionFilter(name="orders.load", namespace="shell", limit=1)),
    "updates": lambda ledger: ledger.updates(UpdateFilter(name="orders.alarm", limit=1)),
    "rejects": lambda ledger: ledger.rejects(RejectFilter()),
    "findings": lambda ledger: ledger.findings(FindingFilter(since=datetime(2026, 11, 1, tzinfo=UTC))),
    "graph": lambda ledger: ledger.graph("orders", "s3://lake", "both"),
    "graph as of a time": lambda ledger: ledger.graph("orders", "s3://lake", at=datetime(2026, 11, 1, tzinfo=UTC)),
    "tasks downstream": lambda ledger: ledger.graph("s3://lake/orders", direction="downstream", depth=1, kind="task"),
    "the lineage of a partition": lambda ledger: ledger.graph("orders.report", "shell", partition=DAY),
    "the lineage of what has no partitions": lambda ledger: ledger.graph("orders.alarm", depth=1, partition=""),
    "what a declaration would change": lambda ledger: ledger.declare("shop", {"tasks": []}, dry_run=True),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_way_gives_an_equal_answer(ways: Ways, question: str) -> None:
    answers = {way: _timeless(QUESTIONS[question](ledger)) for way, ledger in ways.items()}
    assert all(answer == answers["direct"] for answer in answers.values()), answers
    assert _size(answers["direct"]) > 0


def _timeless(answer: Any) -> Any:
    """The answer without the moment at which it was given."""
    if not isinstance(answer, Answers | FreshnessAnswers | Arrivals):
        return answer
    items: list[Any] = [
        msgspec.structs.replace(item, decided_at=_ANY_TIME) if isinstance(item, Verdict) else item
        for item in answer.items
    ]
    return msgspec.structs.replace(answer, items=tuple(items), decided_at=_ANY_TIME)


def _size(answer: Any) -> int:
    """How much an answer holds, so that equality is not that of nothing."""
    if isinstance(answer, Declared):
        return answer.retired
    found = answer if isinstance(answer, tuple) else getattr(answer, "items", None) or answer.nodes
    return len(found)


MISTAKES: dict[str, Callable[[Ledger], object]] = {
    "an ambiguous name": lambda ledger: ledger.runs(RunFilter(name="orders.load")),
    "an ambiguous node": lambda ledger: ledger.graph("orders.load"),
    "an unknown name": lambda ledger: ledger.partitions(PartitionFilter(name="order.load", kind="task")),
    "a limit out of bounds": lambda ledger: ledger.tasks(TaskFilter(limit=1_001)),
    "a limit that is no number": lambda ledger: ledger.tasks(TaskFilter(limit=cast(int, "many"))),
    "a cursor of elsewhere": lambda ledger: ledger.tasks(TaskFilter(cursor="elsewhere")),
    "a state that is none": lambda ledger: ledger.runs(RunFilter(state=cast(RunState, "done"))),
    "a direction that is none": lambda ledger: ledger.graph("orders", "s3://lake", cast(Any, "sideways")),
    "a time without a zone": lambda ledger: ledger.graph(
        "orders",
        "s3://lake",
        at=datetime(2026, 11, 1),  # noqa: DTZ001  # what is refused
    ),
    "a depth below zero": lambda ledger: ledger.graph("orders", "s3://lake", depth=-1),
    "a partition as of a time": lambda ledger: ledger.graph(
        "orders", "s3://lake", at=datetime(2026, 11, 1, tzinfo=UTC), partition=DAY
    ),
    "a partition of one kind": lambda ledger: ledger.graph("orders", "s3://lake", kind="task", partition=DAY),
    "a partition of the graph that is no key": lambda ledger: ledger.graph("orders", partition=cast(str, 1)),
    "a partition that is no key": lambda ledger: ledger.readiness([Named("a"), Named("b", partition=cast(str, 1))]),
    "too many questions": lambda ledger: ledger.readiness([Named("a")] * 1_001),
    "a kind that is none": lambda ledger: ledger.freshness([FreshnessQuestion(name="a", kind=cast(Any, "view"))]),
    "a position of elsewhere": lambda ledger: ledger.changes("elsewhere"),
    "no changes": lambda ledger: ledger.changes(limit=0),
    "a dataset that is no name": lambda ledger: ledger.latest([cast(DatasetRef, "orders")]),
    "no partitions of each": lambda ledger: ledger.latest([ORDERS], each=0),
    "a status that is none": lambda ledger: ledger.latest([ORDERS], statuses=[cast(PartitionStatus, "done")]),
    "a rest of elsewhere": lambda ledger: ledger.newest([ORDERS], before="elsewhere"),
    "no newest changes": lambda ledger: ledger.newest([ORDERS], limit=0),
    "a time of a mirror without a zone": lambda ledger: ledger.tell_mirror(
        "m",
        datetime(2026, 11, 1),  # noqa: DTZ001  # what is refused
    ),
    "less than nothing waiting": lambda ledger: ledger.tell_mirror("m", _ANY_TIME, -1),
    "a mirror whose name is a text": lambda ledger: ledger.tell_mirror("m" * 201, _ANY_TIME),
    "an event that no JSON can hold": lambda ledger: ledger.record([event(0, "running"), {"at": object()}]),
    "an event of a key that is no string": lambda ledger: ledger.record([cast(Any, {("a", "b"): 1})]),
    "a manifest of another source": lambda ledger: ledger.declare("shop", {"source": "mine"}),
    "a manifest with a wrong field": lambda ledger: ledger.declare("shop", {"tasks": [{"namespace": "shell"}]}),
    "a manifest without a source": lambda ledger: ledger.declare("", {"tasks": []}),
    "a task of another source": lambda ledger: ledger.declare("other", {"tasks": MANIFEST["tasks"]}),
    "a cycle": lambda ledger: ledger.declare("shop", _circular()),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_way_refuses_a_mistake_with_an_equal_error(ways: Ways, mistake: str) -> None:
    errors: dict[str, DataForgeError] = {}
    for way, ledger in ways.items():
        with pytest.raises(DataForgeError) as refused:
            MISTAKES[mistake](ledger)
        errors[way] = refused.value
    direct = errors["direct"]
    for error in errors.values():
        assert type(error) is type(direct)
        assert str(error) == str(direct)
        assert vars(error) == vars(direct)


def _circular() -> dict[str, Any]:
    """The manifest, but the first task consumes what the second one produces."""
    load, report = MANIFEST["tasks"]
    made = {"namespace": "s3://lake", "name": "report"}
    return {"tasks": [{**load, "consumes": [{"dataset": made}]}, {**report, "produces": [made]}]}


def test_an_ambiguous_name_is_answered_with_those_it_may_mean(ways: Ways) -> None:
    for ledger in ways.values():
        with pytest.raises(NotFound, match="add its namespace") as refused:
            ledger.runs(RunFilter(name="orders.load"))
        assert refused.value.candidates == ["cron/orders.load", "shell/orders.load"]
        [item] = ledger.readiness([Named("orders.load", partition=DAY)]).items
        assert isinstance(item, Unanswered)
        assert (item.code, item.candidates) == (Code.NO_SUCH_TASK, ("cron/orders.load", "shell/orders.load"))


def test_the_errors_are_of_their_kind(ways: Ways) -> None:
    kinds = {"a cycle": CycleError, "a task of another source": Conflict, "a depth below zero": InvalidInput}
    for mistake, kind in kinds.items():
        with pytest.raises(kind):
            MISTAKES[mistake](ways["http"])


def test_an_environment_that_nobody_made_is_not_found(module_database: Database, tmp_path: Path) -> None:
    with every_way(module_database.url, tmp_path, "nowhere") as ways:
        for ledger in ways.values():
            with pytest.raises(NotFound, match="no environment named 'nowhere'") as refused:
                ledger.changes()
            assert "dev" in refused.value.candidates
            with pytest.raises(NotFound, match="no environment named 'nowhere'"):
                ledger.record(HISTORY)


def test_a_walk_through_the_pages_sees_everything_once(ways: Ways) -> None:
    whole = ways["direct"].partitions(PartitionFilter()).items
    for ledger in ways.values():
        assert list(each(ledger.partitions, PartitionFilter(limit=1))) == whole
    assert len(whole) == 5


def test_following_the_changes_ends_with_every_state(ways: Ways) -> None:
    for ledger in ways.values():
        page = ledger.changes(limit=1)
        seen = list(page.items)
        while page.more:
            page = ledger.changes(page.position, limit=1)
            seen += page.items
        assert len(seen) == 5
        assert ledger.changes(page.position).items == ()


def test_what_is_recorded_twice_is_applied_once(ledger: Ledger) -> None:
    assert ledger.record(HISTORY) == Recorded(received=5, applied=5, duplicates=0, rejected=[])
    assert ledger.record(HISTORY) == Recorded(received=5, applied=0, duplicates=5, rejected=[])
    [partition] = ledger.partitions(PartitionFilter(name="orders")).items
    assert (partition.state, partition.partition) == (PartitionStatus.READY, DAY)
    assert ledger.record([]) == Recorded(0, 0, 0, [])


def test_a_malformed_event_is_named_by_place_and_field_and_stops_no_other(ledger: Ledger) -> None:
    answer = ledger.record([event(0, "running"), event(1, "done"), event(2, "failed", attempt=0), {}])
    assert (answer.received, answer.applied) == (4, 1)
    assert [(each.index, [error.field for error in each.errors]) for each in answer.rejected] == [
        (1, ["state"]),
        (2, ["attempt"]),
        (3, ["time"]),
    ]
    assert len(ledger.rejects(RejectFilter()).items) == 3


def test_openlineage_is_answered_as_its_specification_says(ledger: Ledger) -> None:
    wrong = {**openlineage(1), "eventTime": "soon"}
    answer = ledger.lineage([openlineage(0), wrong])
    assert isinstance(answer, BatchAnswer)
    assert (answer.status, answer.summary.successful, answer.summary.failed) == ("partial_success", 1, 1)
    assert [(each.index, "eventTime" in each.reason) for each in answer.failed_events] == [(1, True)]
    assert [run.state for run in ledger.runs(RunFilter()).items] == [RunState.SUCCEEDED]


def test_events_beyond_one_request_keep_their_places(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "MOST_EVENTS", 2)
    events = [*HISTORY, event(9, "done")]
    answer = ledger.record(events)
    assert (answer.received, answer.applied) == (6, 5)
    assert [each.index for each in answer.rejected] == [5]
    batch = ledger.lineage([openlineage(0), openlineage(1), {"eventTime": "soon"}])
    assert (batch.summary.received, [each.index for each in batch.failed_events]) == (3, [2])


def test_a_large_batch_arrives_whole(ledger: Ledger) -> None:
    many = [event(0, "succeeded", run=f"run {number}", error="x" * 100) for number in range(300)]
    assert ledger.record(many).applied == 300
    assert len(list(each(ledger.runs, RunFilter(limit=100)))) == 300


@pytest.mark.parametrize("source", ["shop", "task:postgres://db/load", "a b/ü?x#y%2F", "/shop/"])
def test_a_declaration_is_what_is_true_from_now_on(ledger: Ledger, source: str) -> None:
    tried = ledger.declare(source, MANIFEST, dry_run=True)
    assert ledger.tasks(TaskFilter()).items == []
    assert ledger.declare(source, MANIFEST) == tried == Declared(3, 0, 0, 0, tried.graph_version)
    assert {task.declared_by for task in ledger.tasks(TaskFilter()).items} == {source.strip("/")}
    assert ledger.declare(source, MANIFEST).unchanged == 3
    [verdict] = ledger.readiness([Named("orders.report", partition=DAY)]).items
    assert (verdict.task, verdict.status) == (TaskRef("shell", "orders.report"), Status.WAITING)


@pytest.mark.parametrize("name", ["clients", "a b/ü?x#y%2F"])
def test_the_keys_of_a_set_are_those_that_were_registered(ledger: Ledger, name: str) -> None:
    said = {
        "time": "2026-11-01T06:00:00Z",
        "control": "register",
        "set": name,
        "keys": ["acme", "globex"],
        "by": "anna",
    }
    assert ledger.record([said]).rejected == []
    found = each(partial(ledger.set_keys, name), KeyFilter(limit=1))
    assert [(key.key, key.listed, key.by) for key in found] == [("acme", True, "anna"), ("globex", True, "anna")]
    with pytest.raises(InvalidInput):
        ledger.set_keys(name, KeyFilter(cursor="elsewhere"))


def test_what_is_claimed_and_run_again_is_the_same_by_every_way(ledger: Ledger) -> None:
    ledger.declare("shop", MANIFEST)
    granted = ledger.claim("orders.load", DAY, worker="w")
    with pytest.raises(ClaimRefused) as refused:
        ledger.claim("orders.load", DAY, worker="other")
    assert [reason.code for reason in refused.value.verdict.reasons] == [Code.ALREADY_RUNNING]
    assert ledger.heartbeat(granted.claim, 600).expires_at > granted.expires_at
    written = Outcome(outputs=[{"namespace": "s3://lake", "name": "orders", "partition": DAY}])
    assert ledger.complete(granted.claim, written).attempt == 1
    with pytest.raises(Fenced):
        ledger.fail(granted.claim, "too late")
    assert ledger.readiness([Named("orders.report", partition=DAY)]).items[0].runnable
    again = ledger.rerun("orders.load", DAY, reason="a late file", by="anna@example.com")
    assert [(item.task.name, item.partition) for item in again.items] == [("orders.load", DAY)]
    assert ledger.claim("orders.load", DAY, worker="w").attempt == 2
    assert ledger.wakeups().items == ()  # nobody announces here
    with pytest.raises(Conflict):
        ledger.rerun("orders.report", DAY, reason="it never ran")
    with pytest.raises(InvalidInput):
        ledger.complete("no claim")


def test_what_is_claimed_each_for_itself_is_the_same_by_every_way(ledger: Ledger) -> None:
    ledger.declare("shop", MANIFEST)
    load, waits = (Member(name=name, partition=DAY) for name in ("orders.load", "orders.report"))
    found = ledger.claim_each(ClaimingEach(partitions=(waits, load), worker="w", lease_seconds=600))
    assert [each and each.attempt for each in found.granted] == [None, 1]
    [refused] = found.refused
    assert (refused.place, [reason.code for reason in refused.verdict.reasons]) == (0, [Code.UPSTREAM_MISSING])
    assert refused.message.startswith(f"orders.report for {DAY} may not run now: ")
    with pytest.raises(InvalidInput):
        ledger.claim_each(ClaimingEach(partitions=(), worker="w", lease_seconds=600))


def test_what_is_claimed_together_is_the_same_by_every_way(ledger: Ledger) -> None:
    ledger.declare("shop", MANIFEST)
    load, waits = (Member(name=name, partition=DAY) for name in ("orders.load", "orders.report"))
    both = ledger.claim_together(ClaimingTogether(partitions=(load, waits), worker="w", lease_seconds=600))
    claims = [granted.claim for granted in both.granted]
    assert [granted.attempt for granted in both.granted] == [1, 1]
    with pytest.raises(ClaimRefused):
        ledger.claim_together(ClaimingTogether(partitions=(load,), worker="other", lease_seconds=600))
    beaten = ledger.heartbeat_all(claims, 900)
    assert [granted.claim for granted in beaten.held] == claims
    assert all(late.expires_at > soon.expires_at for late, soon in zip(beaten.held, both.granted, strict=True))
    assert ledger.release(claims[1], "no room").claim == claims[1]
    ends = [EndOf(claim=claim, ending="completed") for claim in claims]
    told = ledger.end_all(ends)
    assert [each.claim for each in told.ended] == claims[:1]
    assert [each.claim for each in told.lost] == claims[1:]


def test_how_far_mirrors_are_is_the_same_by_every_way(ledger: Ledger) -> None:
    assert ledger.mirrors().items == ()
    told = ledger.tell_mirror("dagster", _ANY_TIME, 3)
    (listed,) = ledger.mirrors().items
    assert (listed.name, listed.shown_through, listed.waiting) == ("dagster", _ANY_TIME, 3)
    assert listed.told_at == told.told_at


def test_there_is_no_verb_that_is_not_asked_by_every_way() -> None:
    verbs = {name for name in vars(Ledger) if not name.startswith("_")} - {"close"}
    asked = Path(__file__).read_text(encoding="utf-8")
    assert {verb for verb in verbs if f".{verb}(" not in asked} == set()


def test_backfills_are_the_same_by_every_way(ledger: Ledger) -> None:
    ledger.declare("shop", MANIFEST)
    wanted = Backfilling(
        targets=(Target(name="orders.load", first=DAY, last=DAY),), direction="downstream", reason="late"
    )
    plan = ledger.plan_backfill(wanted)
    assert (plan.id, plan.waves, [item.task.name for item in plan.items]) == (
        None,
        (1, 1),
        ["orders.load", "orders.report"],
    )
    begun = ledger.backfill(wanted)
    assert begun.id is not None
    assert ledger.backfill(msgspec.structs.replace(wanted, id=begun.id)).id == begun.id
    [listed] = ledger.backfills(BackfillFilter()).items
    assert (listed.id, listed.state, listed.counts) == (begun.id, "running", {"planned": 2})
    first = ledger.backfill_partitions(begun.id, ItemFilter(limit=1))
    rest = ledger.backfill_partitions(begun.id, ItemFilter(cursor=first.next_cursor))
    assert [item.task.name for page in (first, rest) for item in page.items] == ["orders.load", "orders.report"]
    assert ledger.change_backfill(begun.id, "pause", by="anna@example.com", reason="x").state == "paused"
    assert ledger.backfill_detail(begun.id).log[0].by == "anna@example.com"
    with pytest.raises(Conflict):
        ledger.change_backfill(begun.id, "retry")
    for name in ("no backfill", "018f4b52-6d5e-7c3f-8a4b-0123456789ab"):
        with pytest.raises(NotFound if "-" in name else InvalidInput):
            ledger.backfill_detail(name)
    with pytest.raises(InvalidInput, match="targets"):
        ledger.plan_backfill(Backfilling(targets=()))
    assert ledger.wakeups(queue="backfill").items == ()
