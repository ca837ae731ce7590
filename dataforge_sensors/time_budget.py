"""How long a tick of a sensor goes on asking: Dagster gives it 60 s, and then throws away all that it has done.

Guarantees that a tick which the ledger answers slowly ends with what it has got by then, and the next goes on from
there. No question is begun once the budget is spent; the one that is under way ends by the resource's own patience of
15 s, and reading Dagster's log takes up to 8 s beside (both stand where they are set).
"""

import time

SECONDS = 20.0


class TimeBudget:
    """The time of one tick, from the moment this is made."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._end = time.monotonic() + seconds

    @property
    def is_spent(self) -> bool:
        """Whether the tick is to end with what it has."""
        return time.monotonic() >= self._end
