"""Definitions over HTTP: the manifest of a source, and single tasks.

Guarantees that an answer is given after the commit, and that a refused declaration has changed nothing.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote

import msgspec
from litestar import Request, post, put
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import PathParameter, QueryParameter, RawBody

from dataforge.api.operation import EnvironmentName, answers, takes_body
from dataforge.api.problem import TooLarge
from dataforge.ledger import declare as ledger
from dataforge.model import decoding, definition
from dataforge.model.declaration import Declared
from dataforge.model.errors import FieldError
from dataforge.storage.database import Database

_MOST_BYTES = 32 * 2**20  # of a manifest, decompressed: it is in memory as a whole, at ten times that
_MOST_YAML = 4 * 2**20  # which takes ten seconds to read, and sixty times its bytes of memory
DryRun = Annotated[
    bool, QueryParameter(description="Answer what would be created, changed and retired, and change nothing.")
]
_TASK: dict[str, Any] = {
    "namespace": "airflow-prod",
    "name": "orders.load",
    "platform": "airflow",
    "owner": "team-orders@example.com",
    "partitioning": {"kind": "daily", "start": "2026-01-01", "time_zone": "Europe/Berlin"},
    "trigger_rule": "all_success",
    "run_after": "PT30M",
    "pools": {"warehouse": 1},
    "consumes": [
        {"task": {"namespace": "airflow-prod", "name": "orders.extract"}},
        {
            "dataset": {"namespace": "postgres://db:5432", "name": "shop.public.orders"},
            "mapping": {"kind": "window", "from": -6, "to": 0},
            "staleness": "warn",
        },
    ],
    "produces": [{"namespace": "s3://lake", "name": "orders/clean"}],
}
_MANIFEST: dict[str, Any] = {
    "tasks": [_TASK],
    "datasets": [
        {
            "namespace": "s3://lake",
            "name": "orders/clean",
            "owner": "team-orders@example.com",
            "partitioning": {"kind": "daily", "start": "2026-01-01"},
            "aliases": [{"namespace": "glue://1", "name": "lake.orders"}],
        }
    ],
    "pools": [{"name": "warehouse", "slots": 8}],
}
_ANSWER = Declared(created=3, changed=0, retired=1, unchanged=12, graph_version=42)


@put(
    "/{env:str}/definitions/{source:path}",
    sync_to_thread=True,
    operation_class=takes_body(
        "The whole manifest of the source: tasks, datasets and pools. YAML where the content type says so.",
        _MANIFEST,
        Schema(type=OpenAPIType.OBJECT, description="A manifest."),
    ),
    responses=answers(Declared, _ANSWER, "The definitions are what is true from now on."),
    summary="Declare a source",
)
def declare_source(
    database: NamedDependency[Database],
    env: EnvironmentName,
    source: Annotated[str, PathParameter(description="The name of the source: a repository, a DAG folder.")],
    body: RawBody,
    request: Request[Any, Any, Any],
    dry_run: DryRun = False,
) -> Declared:
    """All or nothing; what the source no longer names is retired, and what did not change keeps its version."""
    name = _as_sent(request) or source.strip("/")
    manifest = definition.parse_named(_document(request, body), name)
    return ledger.declare(database, env, manifest, dry_run=dry_run)


@post(
    "/{env:str}/tasks",
    status_code=200,
    sync_to_thread=True,
    operation_class=takes_body(
        "One task with its edges, as in a manifest. YAML where the content type says so.",
        _TASK,
        Schema(type=OpenAPIType.OBJECT, description="A task."),
    ),
    responses=answers(Declared, msgspec.structs.replace(_ANSWER, created=1, retired=0, unchanged=0), "It is declared."),
    summary="Declare a task",
)
def declare_task(
    database: NamedDependency[Database],
    env: EnvironmentName,
    body: RawBody,
    request: Request[Any, Any, Any],
    dry_run: DryRun = False,
) -> Declared:
    """The task is a source of its own, by the same rules as a manifest; sent again it replaces itself."""
    task = definition.parse_task(_document(request, body))
    return ledger.declare_task(database, env, task, dry_run=dry_run)


def _as_sent(request: Request[Any, Any, Any]) -> str:
    """The source as the path spells it: the framework folds `//`, which `task:postgres://db/load` holds."""
    raw = request.scope.get("raw_path", b"").decode("ascii", errors="replace")
    return unquote(raw.partition("?")[0].partition("/definitions/")[2]).strip("/")


def _document(request: Request[Any, Any, Any], body: bytes) -> object:
    """The body decoded, or as it is where it is JSON. Raises TooLarge."""
    is_yaml = request.content_type[0].endswith("yaml")
    most = _MOST_YAML if is_yaml else _MOST_BYTES
    if len(body) > most:
        remedy = " of YAML: send it as JSON" if is_yaml else ": declare it as several sources"
        expected = f"at most {most >> 20} MB{remedy}"
        raise TooLarge(
            f"the manifest has {len(body):,} bytes: expected {expected}", [FieldError("$", len(body), expected)]
        )
    return decoding.of_yaml(body) if is_yaml else body
