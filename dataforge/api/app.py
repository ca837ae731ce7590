"""The HTTP API's composition root: what it is made of is put together here and nowhere else.

Guarantees that an application can be made while the database is down: it then says so, and serves as soon as
the database is back.
"""

from __future__ import annotations

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide

from dataforge import settings as installation
from dataforge.api import docs, document, operation, problem, status
from dataforge.api.arrivals import post_arrivals
from dataforge.api.backfills import (
    cancel_backfill,
    get_backfill,
    list_backfill_partitions,
    list_backfills,
    pause_backfill,
    plan_backfill,
    resume_backfill,
    retry_backfill,
)
from dataforge.api.changes import list_changes, post_latest, post_newest
from dataforge.api.claims import (
    complete_claim,
    end_claims,
    extend_claim,
    extend_claims,
    fail_claim,
    make_claim,
    make_claims,
    release_claim,
)
from dataforge.api.claims_each import claim_each
from dataforge.api.datasets import list_datasets
from dataforge.api.definitions import declare_source, declare_task
from dataforge.api.events import record_events
from dataforge.api.findings import list_findings
from dataforge.api.freshness import post_freshness
from dataforge.api.graph import get_graph
from dataforge.api.graphql.route import query_graphql
from dataforge.api.gzip import Gunzip
from dataforge.api.intake import Intake
from dataforge.api.lineage import record_batch, record_batch_in, record_event, record_event_in
from dataforge.api.metrics import metrics
from dataforge.api.mirrors import list_mirrors, tell_mirror
from dataforge.api.partition_sets import list_keys, register_keys
from dataforge.api.partitions import list_partitions
from dataforge.api.patience import Patience
from dataforge.api.readiness import get_readiness, post_readiness
from dataforge.api.rejects import list_rejects
from dataforge.api.reruns import order_rerun
from dataforge.api.run_graph import get_run_graph
from dataforge.api.runs import list_runs
from dataforge.api.shards import list_shards
from dataforge.api.tasks import list_tasks
from dataforge.api.updates import list_updates
from dataforge.api.versions import get_definition, list_versions
from dataforge.api.wakeups import list_wakeups
from dataforge.graph.follower import Follower
from dataforge.ingest import redaction
from dataforge.ingest.group import GroupCommit
from dataforge.ingest.redaction import Redaction
from dataforge.local.postgres import database_url
from dataforge.settings import Settings
from dataforge.storage.database import Database

MOST_BYTES = 100 * 2**20  # of a body, decompressed
_MOST_HELD = 512 * 2**20  # of all bodies that a process works on
# Requests wait for the environment's lock while they hold a connection, so readers need some of their own.
_CONNECTIONS = 32
_PATIENCE_SECONDS = 60.0  # twice what one statement may take


def create_app(
    settings: Settings | None = None, *, patience: float = _PATIENCE_SECONDS, most_held: int = _MOST_HELD
) -> Litestar:
    """The application, for these settings or this process's. `patience` is how long a request may take, in seconds;
    `most_held` is how many bytes of bodies are worked on at once."""
    settings = settings or installation.current()
    app = Litestar(
        route_handlers=[status.health, status.ready, metrics, docs.page, docs.assets(), query_graphql, _version_1()],
        dependencies={
            "settings": Provide(provide_settings, sync_to_thread=False),
            "redaction": Provide(provide_redaction, sync_to_thread=False),
            "database": Provide(provide_database, sync_to_thread=False),
            "follower": Provide(provide_follower, sync_to_thread=False),
            "group_commit": Provide(provide_group_commit, sync_to_thread=False),
        },
        exception_handlers={Exception: problem.answer},
        middleware=[Patience(patience), Gunzip(), Intake(most_held), operation.CheckedParameters()],
        on_shutdown=[_close],
        openapi_config=document.configuration(),
        plugins=[document.DescribedStructs()],
        request_max_body_size=MOST_BYTES,
        state=state_of(settings),
    )
    document.complete(app)
    return app


def state_of(settings: Settings) -> State:
    """What an application for these settings keeps from one request to the next; nothing is connected yet."""
    return State({"settings": settings, "redaction": redaction.load(settings.redaction), "follower": Follower()})


def _version_1() -> Router:
    return Router(
        path="/api/v1",
        route_handlers=[
            record_event,
            record_event_in,
            record_batch,
            record_batch_in,
            record_events,
            list_tasks,
            list_datasets,
            list_runs,
            list_shards,
            list_partitions,
            list_keys,
            register_keys,
            list_updates,
            list_rejects,
            list_findings,
            list_changes,
            post_latest,
            post_newest,
            list_mirrors,
            tell_mirror,
            declare_source,
            declare_task,
            list_versions,
            get_definition,
            get_graph,
            get_run_graph,
            get_readiness,
            post_readiness,
            post_freshness,
            post_arrivals,
            order_rerun,
            plan_backfill,
            list_backfills,
            get_backfill,
            list_backfill_partitions,
            pause_backfill,
            resume_backfill,
            cancel_backfill,
            retry_backfill,
            list_wakeups,
            make_claim,
            make_claims,
            claim_each,
            extend_claims,
            end_claims,
            extend_claim,
            complete_claim,
            fail_claim,
            release_claim,
        ],
    )


def provide_settings(state: State) -> Settings:
    """The settings that the application was made for."""
    settings: Settings = state.settings
    return settings


def provide_redaction(state: State) -> Redaction:
    """The rules for what may be stored of an event."""
    rules: Redaction = state.redaction
    return rules


def provide_follower(state: State) -> Follower:
    """The graphs in memory."""
    follower: Follower = state.follower
    return follower


def provide_database(state: State) -> Database:
    """The pool of connections, made at its first use, since where the embedded database listens is known only
    once it runs."""
    if "database" not in state:
        state.database = Database(database_url(state.settings), max_size=_CONNECTIONS)
    database: Database = state.database
    return database


def provide_group_commit(state: State) -> GroupCommit:
    """Where events are written: concurrent requests share a transaction."""
    if "group_commit" not in state:
        state.group_commit = GroupCommit(provide_database(state), state.redaction)
    group_commit: GroupCommit = state.group_commit
    return group_commit


async def _close(app: Litestar) -> None:
    if "group_commit" in app.state:
        await app.state.group_commit.close()
    if "database" in app.state:
        app.state.database.close()
