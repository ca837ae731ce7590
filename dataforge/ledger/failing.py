"""Which partitions the attempts of a run have refused: those on which blocking checks failed.

A check speaks of the partitions that its run read or wrote. Of dbt's tests the outcome decides
and not the severity: one below its threshold has only warned, and one that broke is an error whatever its severity;
dbt builds nothing on the model then. What failed are the relations that the test's last event names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dataforge.model.attempt import Attempt, Touch
from dataforge.model.quality import Failure
from dataforge.model.run import Ancestor, Standing
from dataforge.model.state import RunState
from dataforge.storage.attempt import RunKey
from dataforge.storage.quality import FailedCheck

_DBT_TEST = "test."  # begins its name: test.<project>.<name>


Touched = Callable[[Standing, Touch, Ancestor], Iterable[str]]


def failing(key: RunKey, stood: Iterable[tuple[Standing, Ancestor]], touched: Touched) -> list[FailedCheck]:
    """Of each attempt and partition the latest failure; `touched` says which partitions were read or written."""
    found: dict[tuple[str, int, str, bool], FailedCheck] = {}
    for standing, taken in stood:
        attempt_id = standing.attempt.key.attempt_id
        for touch, failure in _failures(standing):
            own = touch.direction == "output"
            for place in touched(standing, touch, taken):
                row = FailedCheck(touch.dataset.id, place, *key, attempt_id, own, failure)
                known = found.get((attempt_id, touch.dataset.id, place, own))
                if known is None or failure > known.failure:
                    found[attempt_id, touch.dataset.id, place, own] = row
    return [found[place] for place in sorted(found)]


def _failures(standing: Standing) -> Iterator[tuple[Touch, Failure]]:
    attempt = standing.attempt
    if not _is_dbt_test(attempt):
        yield from ((touch, touch.report.failed) for touch in attempt.touches if touch.report.failed is not None)
        return
    name, said = attempt.key.task.name.split(".", 2)[-1], attempt.statement
    failure = Failure.of([name], said.at, said.event) if standing.belief.state is RunState.FAILED else None
    last = max((touch.last_at for touch in attempt.touches), default=None)
    if failure is not None:
        yield from ((touch, failure) for touch in attempt.touches if touch.last_at == last)


def _is_dbt_test(attempt: Attempt) -> bool:
    return attempt.platform == "dbt" and attempt.key.task.name.startswith(_DBT_TEST)
