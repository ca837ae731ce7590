"""Whether the ledger lets partitions of a task run: its verdict, as an answer to who would start them.

Guarantees that what runs is what a claim would be granted for, and that what was done is run again only by an order,
which the ledger keeps with its reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster import AssetExecutionContext
from msgspec.structs import replace

from dataforge_assets.claims import again_of
from dataforge_assets.hands.wave import Admission, End, Later
from resources import LedgerResource
from resources.configuration import may_start
from resources.identity import source_of
from resources.model import (
    MOST_QUESTIONS,
    Again,
    Answers,
    Code,
    Named,
    PartitionFilter,
    PartitionItem,
    Status,
    TaskRef,
    Verdict,
    each,
)

FEW = 20  # partitions whose states are asked for one by one, where the task has many more


def verdicts(ledger: LedgerResource, task: TaskRef, keys: Sequence[str]) -> dict[str, Verdict]:
    """The verdict on each partition, a thousand in one question."""
    found: dict[str, Verdict] = {}
    for begin in range(0, len(keys), MOST_QUESTIONS):
        asked = keys[begin : begin + MOST_QUESTIONS]
        answers: Answers = ledger.readiness([Named(task.name, task.namespace, key) for key in asked])
        found |= dict(zip(asked, answers.items, strict=True))
    return found


def answer(verdict: Verdict) -> Admission:
    """What the verdict says to who would start the partition. What runs already is joined."""
    if verdict.runnable:
        return "go" if may_start(verdict) else End(False, _observed(verdict))
    if verdict.status is Status.RUNNING:
        return "go"
    why = verdict.reasons[0].message
    if any(reason.code is Code.ALREADY_DONE for reason in verdict.reasons):
        return End(True, f"nothing was started: {why}", made=verdict.status is Status.SUCCEEDED)
    more = f", and {len(verdict.reasons) - 1} more" if len(verdict.reasons) > 1 else ""
    return Later(f"the ledger does not let it run: {why}{more}", verdict.status is Status.WAITING)


def _observed(verdict: Verdict) -> str:
    return (
        "it could run, as far as was observed, and nobody may start it on that: declare what it depends on, or name"
        f" {verdict.task.namespace} in DATAFORGE_TRUSTED"
    )


def states(
    ledger: LedgerResource, task: TaskRef, keys: Sequence[str], since: datetime | None = None
) -> dict[str, PartitionItem]:
    """What is known of these partitions; with `since` only of those whose state is as new as that."""
    wanted = PartitionFilter(name=task.name, namespace=task.namespace, kind="task", since=since, limit=MOST_QUESTIONS)
    if len(keys) <= FEW and "" not in keys:
        found = [item for key in keys for item in each(ledger.partitions, replace(wanted, partition=key))]
    else:
        found = [*each(ledger.partitions, wanted)]
    asked = frozenset(keys)
    return {item.partition or "": item for item in found if (item.partition or "") in asked}


@dataclass(frozen=True)
class Orders:
    """Lets what is done be run again, where the run of Dagster asks for that (`dataforge_assets.claims.again_of`)."""

    ledger: LedgerResource
    task: TaskRef
    again: Again | None
    run: str  # the first of the runs of which this one is a repetition
    begun_at: datetime  # when that was asked for
    source: Mapping[str, str]  # what events say of where they come from

    def give(self, done: Sequence[str]) -> list[str]:
        """Orders these done partitions to be run again, where that is asked for; returns which. What has run since
        this wave was first launched has been run again already."""
        if self.again is None or not done:
            return []
        known = states(self.ledger, self.task, done)
        wanted = [key for key in done if key in known and not self._is_fresh(known[key])]
        for key in wanted:
            by, reason = self.again.by, self.again.reason
            self.ledger.rerun(self.task.name, key, reason=reason, by=by, namespace=self.task.namespace)
        return wanted

    def _is_fresh(self, item: PartitionItem) -> bool:
        return item.since is not None and item.since >= self.begun_at


def orders_of(context: AssetExecutionContext, task: TaskRef) -> Orders:
    """The orders that a run of Dagster may give."""
    run, instance = context.run, context.instance
    first = run.root_run_id or run.run_id
    record = instance.get_run_record_by_id(first)
    return Orders(
        ledger=context.resources.ledger,
        task=task,
        again=again_of(run),
        run=first,
        begun_at=(record.create_timestamp if record else datetime.now(UTC)).astimezone(UTC),
        source=source_of(run),
    )
