"""What the ledger and its twin answer and believe, each in one shape."""

from __future__ import annotations

from typing import Any

from dataforge.model.freshness import Freshness
from dataforge.model.verdict import Code, Verdict
from dataforge.storage.database import Database
from tests.twin.claim import Place
from tests.twin.fold import State
from tests.twin.question import Answer

BELIEVED = """
select s.node_kind::text, coalesce(d.name, n.name), s.partition, s.status::text, s.run_state::text, s.since, p.name,
    s.run, s.evidence::text, s.ready_run, s.ready_since, s.ready_version
from partition_state s
join environment e on e.id = s.environment
join task p on p.environment = s.environment and p.id = s.task_id
left join task n on s.node_kind = 'task' and n.environment = s.environment and n.id = s.node_id
left join dataset d on s.node_kind = 'dataset' and d.environment = s.environment and d.id = s.node_id
where e.name = %s
"""


def believed(database: Database, environment: str) -> dict[Place, tuple[Any, ...]]:
    with database.transaction() as connection:
        rows = connection.execute(BELIEVED, [environment]).fetchall()
    return {(kind, name, key): tuple(row) for kind, name, key, *row in rows}


def states(found: dict[Place, State]) -> dict[Place, tuple[Any, ...]]:
    return {
        place: (
            state.status,
            state.state,
            state.since,
            state.task,
            state.run,
            state.evidence,
            *((state.made.of_run, state.made.since, state.made.version) if state.made else (None, None, None)),
        )
        for place, state in found.items()
    }


def shown(verdict: Verdict) -> dict[str, Any]:
    reasons, warnings = (
        frozenset(
            (r.code.value, (r.upstream.kind, r.upstream.name) if r.upstream else None, r.partition) for r in listed
        )
        for listed in (verdict.reasons, verdict.warnings)
    )
    return {
        "runnable": verdict.runnable,
        "status": verdict.status.value,
        "reasons": reasons,
        "warnings": warnings,
        "basis": verdict.basis,
        "fate": verdict.fate,
    }


ITSELF: Place = ("", "", "")


def stale(found: Freshness) -> set[Place]:
    """The inputs that make a partition stale; ITSELF where it is what came late for it."""
    stale = [reason for reason in found.reasons if reason.code is Code.UPSTREAM_STALE]
    return {(r.upstream.kind, r.upstream.name, r.partition or "") if r.upstream else ITSELF for r in stale}


def expected(found: Answer) -> dict[str, Any]:
    return {
        "runnable": found.runnable,
        "status": found.status,
        "reasons": found.reasons,
        "warnings": found.warnings,
        "basis": found.basis,
        "fate": found.fate,
    }
