"""Dagster's instance before its processes start: `dataforge up` runs this once, as `python -m resources.instance`.

Guarantees that the storage has every table of the installed release, and that no run is called running whose process
is gone: Dagster's launcher cannot tell by itself, since it asks a code server that is gone as well.
"""

import sys

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

_IN_PROGRESS = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


def prepare(instance: DagsterInstance, *, nothing_runs: bool) -> None:
    """Creates or migrates the tables; `nothing_runs`: no run has a process any more."""
    instance.upgrade()
    instance.reindex()
    if nothing_runs:
        _fail_lost_runs(instance)


def _fail_lost_runs(instance: DagsterInstance) -> None:
    for run in instance.get_runs(filters=RunsFilter(statuses=_IN_PROGRESS)):
        instance.report_run_failed(run, "The installation was stopped while this ran, and its process is gone.")


if __name__ == "__main__":
    with DagsterInstance.get() as found:
        prepare(found, nothing_runs="--nothing-runs" in sys.argv[1:])
