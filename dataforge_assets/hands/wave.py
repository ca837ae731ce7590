"""A wave: one process starts partitions of external work and watches them, however many, until each has ended.

Guarantees that every partition gets exactly one end, with its reason where it is not well; that no more are under way
at once than the pace allows; and that nothing is cancelled: what is given up goes on where it runs, and is found there
by whoever launches it again. How a partition comes to be ready, and in which order, the ledger says: what may not run
yet is asked about again while others of the wave are under way, so a day that needs the day before follows it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from dagster import Config
from pydantic import Field

from resources.model import DataForgeError


class Pace(Config):
    """How a wave goes: what the launchpad asks for."""

    at_once: int = Field(default=100, ge=1, le=1_000, description="How many partitions may be under way at once.")
    timeout_seconds: float = Field(
        default=6 * 3600, gt=0, description="How long one partition is waited for. It goes on where it runs."
    )
    poll_seconds: float = Field(default=5, gt=0, le=300, description="How often is looked at what is under way.")


@dataclass(frozen=True)
class End:
    """How a partition has ended, in a line, and what else is known of it. What was skipped is well, and not made."""

    good: bool
    said: str
    made: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Later:
    """Why a partition may not run yet, and whether it will come to that though nothing of this wave is under way."""

    why: str
    by_itself: bool


Admission = Literal["go"] | Later | End


class Hand(Protocol):
    """Work of one task that runs elsewhere, by partition; '' is the one of what has no partitions."""

    def admit(self, keys: Sequence[str], room: int) -> Mapping[str, Admission]:
        """Whether these may run now; of at most `room` it says `go`, and of those without an answer nothing."""
        ...

    def start(self, keys: Sequence[str]) -> Mapping[str, End]:
        """Starts those admitted, or joins what runs of them already; what cannot be started has ended with that."""
        ...

    def ended(self, keys: Sequence[str]) -> Mapping[str, End]:
        """How those of them that have ended did."""
        ...

    def leave(self, keys: Sequence[str], why: str) -> None:
        """Cares for these no longer: what holds some of them for this wave is given back."""
        ...


@dataclass
class _Wave:
    hand: Hand
    pace: Pace
    say: Callable[[str], None]
    waiting: dict[str, float]  # until when
    going: dict[str, float] = field(default_factory=dict)

    def step(self, now: float) -> dict[str, End]:
        """Looks at what is under way, and starts what may be; returns what has ended. Who cannot be asked now may be
        by the next time, as long as there is something to watch."""
        ended: dict[str, End] = {}
        try:
            ended |= self.hand.ended([*self.going]) if self.going else {}
            for key in ended:
                del self.going[key]
            if self.waiting and len(self.going) < self.pace.at_once:
                ended |= self._started(now)
        except DataForgeError as error:
            if not self.going and not ended:
                raise
            self.say(f"the wave cannot go on at the moment, with {len(self.going)} under way: {error}")
        return ended | self._overdue(now)

    def _overdue(self, now: float) -> dict[str, End]:
        late = [key for key, until in self.going.items() if until <= now]
        why = (
            f"it has no end within {self.pace.timeout_seconds:g} s, and goes on where it runs: launch it again to watch"
        )
        if late:
            self.hand.leave(late, why)
        return {key: End(False, why) for key in late if self.going.pop(key)}

    def _started(self, now: float) -> dict[str, End]:
        admitted = self.hand.admit([*self.waiting], self.pace.at_once - len(self.going))
        ended = {key: answer for key, answer in admitted.items() if isinstance(answer, End)}
        granted = [key for key, answer in admitted.items() if answer == "go"]
        for key in {*ended, *granted}:
            del self.waiting[key]
        self.going |= dict.fromkeys(granted, now + self.pace.timeout_seconds)
        refused = self.hand.start(granted) if granted else {}
        for key in refused:
            del self.going[key]
        moved = self.going or granted or ended  # what waited for these is asked about again
        return {**ended, **refused, **({} if moved else self._hopeless(admitted, now))}

    def _hopeless(self, admitted: Mapping[str, Admission], now: float) -> dict[str, End]:
        """What cannot run, and will not through anything that this wave does."""
        found = {
            key: End(False, answer.why)
            for key, answer in admitted.items()
            if isinstance(answer, Later) and (not answer.by_itself or self.waiting[key] <= now)
        }
        for key in found:
            del self.waiting[key]
        return found


def carry(
    hand: Hand,
    keys: Sequence[str],
    pace: Pace,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[str, End]]:
    """Each partition with its end, as they come."""
    wave = _Wave(hand, pace, say, dict.fromkeys(keys, clock() + pace.timeout_seconds))
    try:
        while wave.waiting or wave.going:
            ended = wave.step(clock())
            yield from ended.items()
            if not ended and (wave.waiting or wave.going):
                wait(pace.poll_seconds)
    finally:  # where some are left, the run was terminated or somebody could not be asked
        if left := [*wave.going, *wave.waiting]:
            hand.leave(left, "the run that watched it has ended; it goes on where it runs")
