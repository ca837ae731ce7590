"""Lineage across platforms: from a table that Airflow loads to the dashboard that shows what dbt made of it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from dataforge.graph import sparse
from dataforge.graph.follower import Follower
from dataforge.graph.shown import Shown, Standing
from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.ledger.declare import declare
from dataforge.ledger.lineage import lineage
from dataforge.model import definition
from dataforge.model.errors import NotFound
from dataforge.model.lineage import Direction, Graph
from dataforge.model.reference import NodeKind, TaskRef
from dataforge.storage import edge, environment, task
from dataforge.storage.database import Database
from dataforge.storage.edge import ObservedEdge

POSTGRES, WAREHOUSE = "postgres://db:5432", "snowflake://acme"
AIRFLOW = {
    "source": "orders-dags",
    "tasks": [
        {
            "namespace": "airflow",
            "name": "orders.load",
            "platform": "airflow",
            "owner": "team-orders@example.com",
            "consumes": [{"task": {"namespace": "airflow", "name": "orders.extract"}}],
            "produces": [{"namespace": POSTGRES, "name": "shop.public.orders"}],
        }
    ],
    "datasets": [
        {
            "namespace": POSTGRES,
            "name": "shop.public.orders",
            "owner": "team-orders@example.com",
            "aliases": [{"namespace": WAREHOUSE, "name": "raw.shop.orders"}],
        }
    ],
}
DBT = {
    "metadata": {"project_name": "shop"},
    "nodes": {
        "model.shop.revenue": {
            "resource_type": "model",
            "database": "mart",
            "schema": "shop",
            "alias": "revenue",
            "name": "revenue",
            "depends_on": {"nodes": ["source.shop.erp.orders"]},
        }
    },
    "sources": {
        "source.shop.erp.orders": {
            "resource_type": "source",
            "database": "raw",
            "schema": "shop",
            "identifier": "orders",
            "name": "orders",
        }
    },
    "exposures": {
        "exposure.shop.board": {
            "resource_type": "exposure",
            "name": "board",
            "owner": {"email": "finance@example.com"},
            "depends_on": {"nodes": ["model.shop.revenue"]},
        }
    },
}
WHOLE = [
    "orders.extract",
    "orders.load",
    "raw.shop.orders",
    "model.shop.revenue",
    "mart.shop.revenue",
    "exposure.shop.board",
]


@pytest.fixture
def shop(database: Database) -> Database:
    declare(database, "dev", definition.parse(AIRFLOW))
    declare(database, "dev", from_dbt(DBT, "dbt", WAREHOUSE))
    return database


def ask(
    database: Database,
    name: str,
    direction: Direction = "both",
    depth: int | None = None,
    kind: NodeKind | None = None,
    **more: Any,
) -> Graph:
    return lineage(database, Follower(), "dev", (None, name), direction, depth, kind, **more)


def depths(found: Graph) -> dict[str, int]:
    return {node.name: node.depth for node in found.nodes}


def joined(found: Graph) -> set[tuple[str, str]]:
    return {(edge.from_.name, edge.to.name) for edge in found.edges}


def pairs(names: Iterable[str]) -> set[tuple[str, str]]:
    return set(pairwise(names))


def canonical(database: Database) -> str:
    """The name under which the shared table stands: the least of the declared ones."""
    return next(node.name for node in ask(database, "raw.shop.orders").nodes if node.depth == 0)


def test_a_table_that_airflow_loads_leads_to_the_dashboard(shop: Database) -> None:
    whole = [canonical(shop) if name == "raw.shop.orders" else name for name in WHOLE]
    for alias in ("shop.public.orders", "raw.shop.orders"):
        found = ask(shop, alias, "downstream")
        assert depths(found) == {name: depth for depth, name in enumerate(whole[2:])}
        assert joined(found) == pairs(whole[2:])
    up = ask(shop, "exposure.shop.board", "upstream")
    assert depths(up) == {name: depth for depth, name in enumerate(reversed(whole))}
    assert joined(up) == pairs(whole)
    assert joined(ask(shop, "model.shop.revenue")) == pairs(whole)
    assert not up.truncated


def test_every_node_says_whose_it_is_and_where_it_runs(shop: Database) -> None:
    found = {node.name: (node.owner, node.platform) for node in ask(shop, "orders.load").nodes}
    assert found["orders.load"] == ("team-orders@example.com", "airflow")
    assert found[canonical(shop)][0] == "team-orders@example.com"
    assert found["mart.shop.revenue"] == (None, "snowflake")
    assert found["exposure.shop.board"] == ("finance@example.com", "dbt")


def test_a_kind_is_shown_alone_and_paths_lead_through_the_other(shop: Database) -> None:
    found = ask(shop, "orders.load", "downstream", kind="task")
    assert depths(found) == {"orders.load": 0, "model.shop.revenue": 1, "exposure.shop.board": 2}
    assert joined(found) == pairs(depths(found))
    assert set(depths(ask(shop, "orders.load", "downstream", 1, "task"))) == {"orders.load", "model.shop.revenue"}
    found = ask(shop, "orders.load", "downstream", kind="dataset")
    assert depths(found) == {"orders.load": 0, canonical(shop): 1, "mart.shop.revenue": 2}


def test_an_answer_is_cut_at_its_limit_and_says_so(shop: Database) -> None:
    found = ask(shop, "orders.extract", "downstream", limit=3)
    assert len(found.nodes) == 3
    assert found.truncated
    assert [node.depth for node in found.nodes] == [0, 1, 2]


def test_a_name_without_edges_stands_alone(shop: Database) -> None:
    declare(shop, "dev", definition.parse({"tasks": [{"namespace": "n", "name": "alone"}]}, "alone"))
    found = ask(shop, "alone")
    assert (depths(found), found.edges, found.truncated) == ({"alone": 0}, [], False)


def test_an_unknown_name_is_not_found_with_names_that_would_work(shop: Database) -> None:
    with pytest.raises(NotFound) as caught:
        ask(shop, "orders.lod")
    assert caught.value.candidates[0] == "airflow/orders.load"


def test_what_a_source_retires_is_no_edge_any_more(shop: Database) -> None:
    declare(shop, "dev", definition.parse({}, "orders-dags"))
    assert depths(ask(shop, "orders.load")) == {"orders.load": 0}


def test_observed_edges_count_and_say_that_they_are_observed(shop: Database) -> None:
    application, step, at = TaskRef("emr", "app"), TaskRef("emr", "app.save"), datetime(2026, 11, 1, tzinfo=UTC)
    load = TaskRef("airflow", "orders.load")
    with shop.transaction() as connection:
        task.ensure(connection, 1, [application, step])
        connection.execute("update task set kind = 'step' where name = 'app.save'")
        runs = [ObservedEdge(load.id, "runs", "task", each.id, at, at) for each in (application, step)]
        edge.upsert_observed(connection, 1, runs)
        environment.advance_graph(connection, 1)
    found = ask(shop, "orders.load", "downstream", 1)
    origins = {each.to.name: each.origin for each in found.edges}
    assert origins == {"app": "observed", canonical(shop): "declared"}


def test_a_follower_is_never_behind_its_callers_own_write(database: Database) -> None:
    follower = Follower()
    for number in range(5):
        tasks = [{"namespace": "n", "name": f"t{n}", "consumes": _before(n)} for n in range(number + 1)]
        written = declare(database, "dev", definition.parse({"tasks": tasks}, "s"))
        found = lineage(database, follower, "dev", (None, "t0"))
        assert found.graph_version == written.graph_version
        assert len(found.nodes) == number + 1


def _before(number: int) -> list[dict[str, Any]]:
    return [{"task": {"namespace": "n", "name": f"t{number - 1}"}}] if number else []


def test_a_version_is_read_once_for_all_threads_and_an_old_one_never_displaces_it() -> None:
    follower, reads = Follower(), []

    def at(environment: int, version: int) -> sparse.Graph | None:
        def read() -> Shown:
            reads.append(version)
            graph = sparse.of_rows([(0, version, 0, version + 1, 1)])
            return Shown(graph, Standing(*np.zeros((3, 0), dtype=np.int64)))

        return follower.at(environment, version, read, lambda held, _: held)

    with ThreadPoolExecutor(8) as threads:
        graphs = list(threads.map(lambda _: at(1, 7), range(50)))
    assert reads == [7]
    assert all(graph is graphs[0] for graph in graphs)
    assert at(1, 6) is None
    assert at(1, 7) is graphs[0]
    assert at(2, 7) is not graphs[0]
    assert at(1, 8) is graphs[0]  # followed
    assert reads == [7, 7]


def test_who_is_always_overtaken_reads_for_himself(shop: Database) -> None:
    follower = Follower()
    whole = ask(shop, "orders.load")
    follower.at(
        1, 1_000, lambda: Shown(sparse.EMPTY, Standing(*np.zeros((3, 0), dtype=np.int64))), lambda held, _: held
    )
    assert lineage(shop, follower, "dev", (None, "orders.load")) == whole
