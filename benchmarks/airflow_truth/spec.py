"""A small DAG, as it is written down twice: as a DAG file for Airflow and as a manifest for the ledger."""

from typing import Literal

import msgspec

from dataforge.model.edge import TriggerRule

Kind = Literal["python", "empty", "branch", "short_circuit"]
End = Literal["succeed", "fail", "skip"]


class Task(msgspec.Struct, kw_only=True):
    """One task, and what becomes of each of its tries when Airflow runs it."""

    name: str  # with the prefix of its group
    kind: Kind = "python"
    rule: TriggerRule = TriggerRule.ALL_SUCCESS
    group: str | None = None
    upstream: list[str] = []
    retries: int = 0
    ends: list[list[End]] = []  # by instance, then by try; of a task that is not mapped the first row
    returns: int | None = None  # the length of the list that it returns, for another to be mapped over
    mapped: int | str | None = None  # the number of its instances, or the task whose list it is mapped over
    chooses: list[str] | None = None  # of a branch: which of the tasks behind it go on
    goes_on: bool = True  # of a short circuit
    ignores_rules: bool = True  # of a short circuit: it skips all that is behind it, not only what is next
    setup: bool = False
    tears_down: str | None = None  # the setup whose teardown it is
    depends_on_past: bool = False
    wait_for_downstream: bool = False  # implies the former


class Dag(msgspec.Struct):
    """Tasks in an order in which each comes after its upstreams."""

    name: str
    tasks: list[Task]
    fail_stop: bool = False
    days: int = 1  # how many runs are there at once, a day each

    def task(self, name: str) -> Task:
        return next(task for task in self.tasks if task.name == name)

    def downstream(self, name: str) -> list[str]:
        """The tasks directly behind this one."""
        return [task.name for task in self.tasks if name in task.upstream]

    def above(self, name: str) -> set[str]:
        """All that this task comes after."""
        found: set[str] = set()
        waiting = list(self.task(name).upstream)
        while waiting:
            if (each := waiting.pop()) not in found:
                found.add(each)
                waiting += self.task(each).upstream
        return found
