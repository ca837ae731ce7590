"""Claims on the partitions of a wave, for work whose platform tells the ledger nothing of itself.

Guarantees that what is started was granted by the ledger, under this wave's name; that a wave which is repeated, since
its process was killed, takes its own claims up again, with the same attempt; and that each claim ends as its partition
did, or is given back.
"""

import time
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from dataforge_assets.claims import BEATS, LEASE_SECONDS
from dataforge_assets.hands.admission import Orders, answer, verdicts
from dataforge_assets.hands.wave import Admission, End, Later
from resources.materialization import named_of
from resources.model import (
    MOST_QUESTIONS,
    ClaimingEach,
    DatasetRef,
    EndOf,
    Granted,
    Member,
    Outcome,
    Refused,
    Status,
)


class Claims:
    """What one wave holds of one task."""

    def __init__(self, orders: Orders, dataset: DatasetRef | None) -> None:
        self._orders, self._ledger, self._task, self._dataset = orders, orders.ledger, orders.task, dataset
        self._held: dict[str, Granted] = {}
        self._over: set[str] = set()  # whose end was told; telling it again changes nothing
        self._beaten = time.monotonic()

    def attempt(self, key: str) -> int:
        """The number of the attempt that was granted."""
        return self._held[key].attempt

    def admit(self, keys: Sequence[str], room: int) -> dict[str, Admission]:
        """Claims as many as there is room for, of those that may run or that this wave may hold already; says of the
        others why not."""
        found = {key: answer(verdict) for key, verdict in verdicts(self._ledger, self._task, keys).items()}
        done = [key for key, said in found.items() if isinstance(said, End) and said.good]
        wanted = [*(key for key, said in found.items() if said == "go"), *self._orders.give(done)]
        while wanted and room > 0:
            some, wanted = wanted[:room], wanted[room:]
            found |= (answers := self._claimed(some))
            room -= [*answers.values()].count("go")
        return {key: said for key, said in found.items() if key not in wanted}

    def beat(self) -> dict[str, End]:
        """Keeps what is held, when it is time to; what has been lost all the same has ended with that."""
        now = time.monotonic()
        if now - self._beaten < LEASE_SECONDS / BEATS:
            return {}
        self._beaten = now
        held = {granted.claim: key for key, granted in self._held.items() if key not in self._over}
        lost = self._ledger.heartbeat_all([*held], LEASE_SECONDS).lost if held else ()
        return {held[each.claim]: End(False, "its claim ran out, and is another's") for each in lost}

    def end(self, ends: Mapping[str, End]) -> dict[str, End]:
        """Says how these ended. What is no longer this wave's to say is an end of its own."""
        if not ends:
            return {}
        named = {self._held[key].claim: key for key in ends}
        told = self._ledger.end_all([self._told(key, end) for key, end in ends.items()])
        lost = {named[each.claim]: each.message for each in told.lost}
        self._over |= ends.keys()
        return {
            key: End(False, f"{end.said}; but {lost[key]}", metadata=end.metadata) if key in lost else end
            for key, end in ends.items()
        }

    def _told(self, key: str, end: End) -> EndOf:
        outcome = Outcome(outputs=self._outputs(key)) if end.good else Outcome(error=end.said)
        return EndOf(claim=self._held[key].claim, ending="completed" if end.good else "failed", outcome=outcome)

    def give_back(self, keys: Sequence[str], why: str) -> None:
        """Gives these back unfinished; what is lost already is nobody's to give."""
        held = [self._held[key].claim for key in keys if key in self._held and key not in self._over]
        if held:
            self._ledger.end_all([EndOf(claim=claim, ending="released", outcome=Outcome(error=why)) for claim in held])

    def _claimed(self, keys: Sequence[str]) -> dict[str, Admission]:
        """Of each what the ledger says to a claim, or to one of this wave's from before. One of those that has ended
        is followed by another."""
        found: dict[str, Admission] = {}
        for turn in count():
            granted: dict[str, Granted] = {}
            for begin in range(0, len(keys), MOST_QUESTIONS):
                granted |= self._granted(keys[begin : begin + MOST_QUESTIONS], turn, found)
            named = {each.claim: key for key, each in granted.items()}
            lost = self._ledger.heartbeat_all([*named], LEASE_SECONDS).lost if named else ()
            keys = [named[each.claim] for each in lost]
            held = {key: each for key, each in granted.items() if key not in keys}
            self._held |= held
            found |= dict.fromkeys(held, "go")
            if not keys:
                break
        return found

    def _granted(self, keys: Sequence[str], turn: int, found: dict[str, Admission]) -> dict[str, Granted]:
        """What is granted of these, or was under the same names before; why the others are not goes to `found`."""
        named = f"{self._orders.run}/{self._task.namespace}/{self._task.name}"
        members = tuple(
            Member(
                name=self._task.name,
                namespace=self._task.namespace,
                partition=key,
                claim=str(uuid5(NAMESPACE_URL, f"{named}/{key}/{turn}")),
            )
            for key in keys
        )
        wanted = ClaimingEach(
            partitions=members,
            worker=f"Dagster's run {self._orders.run}",
            lease_seconds=LEASE_SECONDS,
            source=dict(self._orders.source),
        )
        said = self._ledger.claim_each(wanted)
        found |= {keys[each.place]: _refused(each) for each in said.refused}
        return {key: granted for key, granted in zip(keys, said.granted, strict=True) if granted is not None}

    def _outputs(self, key: str) -> list[dict[str, Any]]:
        named = named_of(self._dataset, key)
        return [named] if named else []


def _refused(refused: Refused) -> Admission:
    """What a refusal says to who would start the partition."""
    if refused.verdict.runnable:  # on what was only observed
        return End(False, refused.message)
    if refused.verdict.status is Status.RUNNING:
        return Later(refused.message, True)
    return answer(refused.verdict)
