"""The expanded graph of a run over HTTP: what it consisted of, and what it led to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from dataforge.api.operation import EnvironmentName, answers
from dataforge.ledger.run_graph import run_graph
from dataforge.model.catalog import NodeName, RunName
from dataforge.model.run_graph import Instance, Link, RunGraph, TaskEdge
from dataforge.model.state import RunKind, RunState
from dataforge.storage.database import Database

_RUN = "scheduled__2026-11-01T00:00:00+00:00"


def _instance(name: str, kind: RunKind = RunKind.TASK, map_index: int = -1) -> Instance:
    return Instance(
        kind=kind,
        namespace="airflow-prod",
        name=name,
        run=_RUN if map_index < 0 else f"{_RUN}[{map_index}]",
        map_index=map_index,
        attempt=1,
        attempts=1,
        state=RunState.SUCCEEDED,
        evidence="reported",
        partitions=["2026-11-01"],
        started_at=datetime(2026, 11, 2, 0, 5, tzinfo=UTC),
        ended_at=datetime(2026, 11, 2, 0, 9, tzinfo=UTC),
        version=None,
    )


_NAMES = [NodeName("airflow-prod", "orders.list"), NodeName("airflow-prod", "orders.load")]
_EXAMPLE = RunGraph(
    run=_instance("orders", RunKind.DAG),
    instances=[_instance("orders.list"), _instance("orders.load", map_index=0), _instance("orders.load", map_index=1)],
    edges=[TaskEdge(_NAMES[0], _NAMES[1], "observed")],
    links=[
        Link(
            "triggered",
            RunName("airflow-prod", "orders.start", _RUN),
            RunName("airflow-prod", "invoices", "manual__1"),
            RunState.RUNNING,
        )
    ],
    truncated=False,
)


@get(
    "/{env:str}/runs/graph",
    sync_to_thread=True,
    responses=answers(RunGraph, _EXAMPLE, "What the run consisted of."),
    summary="The expanded graph of one run",
)
def get_run_graph(
    database: NamedDependency[Database],
    env: EnvironmentName,
    name: Annotated[str, QueryParameter(description="The DAG, dbt invocation or Spark application.")],
    run: Annotated[str, QueryParameter(description="Which run of it, as lists of runs show it.")],
    namespace: Annotated[
        str | None, QueryParameter(description="May be left out where the name is unique in the environment.")
    ] = None,
) -> RunGraph:
    """Its task instances with their map indexes and states, what came before what by the versions that it ran, and the
    runs that caused it or that it caused."""
    return run_graph(database, env, (namespace, name), run, datetime.now(UTC))
