"""How often a step was tried before: in the runs that a run of Dagster is a re-execution of.

Guarantees the same number to whoever tells of a step's attempts while it runs and to whoever reads of them in the log.
"""

from collections.abc import Iterable

from dagster import DagsterEventType, DagsterInstance, DagsterRun

STEP_BEGINS = frozenset({DagsterEventType.STEP_START, DagsterEventType.STEP_RESTARTED})


def runs_before(instance: DagsterInstance, run: DagsterRun) -> list[DagsterRun]:
    """The runs that this one is a re-execution of, the last first."""
    found: list[DagsterRun] = []
    while run.parent_run_id and (parent := instance.get_run_by_id(run.parent_run_id)):
        found.append(parent)
        run = parent
    return found


def tries(instance: DagsterInstance, runs: Iterable[DagsterRun]) -> dict[str, int]:
    """How often each step was tried in these runs."""
    found: dict[str, int] = {}
    for run in runs:
        for record in instance.get_records_for_run(run.run_id, of_type=set(STEP_BEGINS)).records:
            step = record.event_log_entry.step_key or ""
            found[step] = found.get(step, 0) + 1
    return found
