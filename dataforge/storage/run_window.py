"""The stretch of runs that one page of a list looks at, in the order of the list: the latest start first, runs
that never started last.

Guarantees a bounded cost for every filter: of an environment's runs, or of one task's, at most `most` are read,
from the cursor on. The runs themselves and their attempts are listed over the same stretch.
"""

from datetime import datetime
from typing import Any

import msgspec

from dataforge.model.filter import RunFilter
from dataforge.model.listing import MOST_EXAMINED

_AFTER_ALL = 2**31 - 1


class Place(msgspec.Struct, frozen=True, array_like=True, tag="runs"):
    """The place of a run, or of one of its attempts, in the order of the list."""

    started_at: datetime | None
    task_id: int
    run: str
    ordinal: int = _AFTER_ALL  # of an attempt; a run comes after its attempts
    attempt_id: str = ""


# Two ranges of one index, so that neither needs more than its limit: a single condition over a column that may
# be null would read the index from its begin. Both are ordered by all of the index's columns, so that the
# planner is not tempted by the primary key, which has no start in it. The cursor's own run is read again: it may
# have more attempts.
# Planned with its values each time (prepare=False), so that a task which is given bounds the range.
_STRETCH = """
with candidate as (
    (select task_id, run, started_at, kind, state, partitions from run
     where environment = %(environment)s
         and (%(kind)s::run_kind is null or kind = %(kind)s::run_kind)
         and {of_task}
         and started_at <= %(upto)s::timestamptz
         and started_at >= %(since)s::timestamptz and started_at < %(until)s::timestamptz
         and (started_at < %(upto)s::timestamptz or (task_id, run) >= (%(after_task)s::bigint, %(after_run)s::text))
     order by started_at desc nulls last, task_id, run limit %(most)s)
    union all
    (select task_id, run, started_at, kind, state, partitions from run
     where environment = %(environment)s
         and (%(kind)s::run_kind is null or kind = %(kind)s::run_kind)
         and {of_task}
         and started_at is null and %(unstarted)s
         and (not %(in_unstarted)s or (task_id, run) >= (%(after_task)s::bigint, %(after_run)s::text))
     order by started_at desc nulls last, task_id, run limit %(most)s)
), looked_at as (
    select * from candidate order by started_at desc nulls last, task_id, run limit %(most)s
)
"""
STRETCH = _STRETCH.replace("{of_task}", "(%(task)s::bigint is null or task_id = %(task)s)")
STRETCH_OF_EACH = _STRETCH.replace("{of_task}", "task_id = asked.id")  # of each row of `asked`


def parameters(
    environment: int, wanted: RunFilter, task: int | None, after: Place | None, *, share: int = 1
) -> dict[str, Any]:
    """What the stretch and the conditions on it are given; `most` is how many runs are read, of each task where `share`
    of them are asked for at once."""
    in_unstarted = after is not None and after.started_at is None
    return {
        **msgspec.structs.asdict(wanted),
        "environment": environment,
        "task": task,
        "kind": wanted.kind or ("task" if task is None else None),
        "upto": "-infinity" if in_unstarted else (after.started_at if after else None) or "infinity",
        "since": wanted.since or "-infinity",
        "until": wanted.until or "infinity",
        "unstarted": wanted.since is None and wanted.until is None,
        "in_unstarted": in_unstarted,
        "after_task": after.task_id if after else None,
        "after_run": after.run if after else None,
        "after_ordinal": after.ordinal if after else None,
        "after_attempt": after.attempt_id if after else None,
        "most": _most(wanted, share),
    }


def _most(wanted: RunFilter, share: int) -> int:
    """How many runs to read: with nothing to filter by, one more than the page holds tells whether there is a
    next one, and the cursor's own run comes on top."""
    conditions = (wanted.namespace, wanted.owner, wanted.platform, wanted.state, wanted.partition)
    enough = wanted.limit + 2
    if all(condition is None for condition in conditions):
        return enough
    return MOST_EXAMINED if share == 1 else max(enough, MOST_EXAMINED // share)
