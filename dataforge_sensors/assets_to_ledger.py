"""Declares in the ledger what this code location makes and nobody else declares: a plain `@asset` is a task and a
dataset there, with its partitions and what it is made from, before its first run.

Guarantees that all of it is declared or nothing, by one source for each location, so that what vanished from the code
is retired; and that a tick asks the ledger only where the definitions are other than before, or some minutes after the
last time, so that a ledger that was lost is told again.
"""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

from dagster import (
    DefaultSensorStatus,
    RepositoryDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    TableSchema,
    sensor,
)
from dagster._core.definitions.repository_definition.valid_definitions import SINGLETON_REPOSITORY_NAME

from dataforge_assets.declaration import Declaration, declaration_of
from dataforge_sensors.ledger_to_dagster import first_of
from dataforge_sensors.mirror_name import location_of
from resources import LedgerResource
from resources.model import Conflict, DataForgeError, DatasetRef
from resources.refusal import one_line

NAME = "assets_to_ledger"
AGAIN_SECONDS = 600  # what is declared already is compared by the ledger, and changes nothing
_declarations: WeakKeyDictionary[RepositoryDefinition, Declaration] = WeakKeyDictionary()


@sensor(
    name=NAME,
    description="Declares in the ledger the assets that are made here and name no task of it.",
    minimum_interval_seconds=10,
    default_status=DefaultSensorStatus.RUNNING,
)
def assets_to_ledger(context: SensorEvaluationContext, ledger: LedgerResource) -> SensorResult | SkipReason:
    """One tick: declares all, where that is due."""
    assert context.repository_def is not None, "a sensor that the daemon runs has its code location"
    now = time.time()
    try:
        said = _said(context.repository_def)
        digest = _digest(said)
        news = not (context.cursor or "").startswith(digest)
        if not news and now - float((context.cursor or "").partition("@")[2]) < AGAIN_SECONDS:
            return SkipReason(f"As declared before.{_left_out(said)}")
        if context.cursor is None and not said.manifest["tasks"]:
            return SkipReason(f"Every asset that is made here is declared elsewhere.{_left_out(said)}")
        declared = ledger.declare(source_of(context), said.manifest)
        if news and said.columns:
            ledger.lineage([_seen(dataset, schema, now) for dataset, schema in said.columns.items()])
    except DataForgeError as error:
        return SkipReason(one_line(error, f"Nothing is declared, and what was stands.{_remedy(error)}"))
    if news and said.left_out:
        context.log.warning(_left_out(said).strip())
    counts = f"created {declared.created}, changed {declared.changed}, retired {declared.retired}"
    return SensorResult(cursor=f"{digest}@{now:.0f}", skip_reason=f"Declared: {counts}.{_left_out(said)}")


def source_of(context: SensorEvaluationContext) -> str:
    """What the location is called as a source of definitions."""
    repository = context.repository_name
    named = "" if repository in (None, SINGLETON_REPOSITORY_NAME) else f"/{repository}"
    return f"dagster/{location_of(context) or 'location'}{named}"


def _said(repository: RepositoryDefinition) -> Declaration:
    """The declaration of these definitions, which do not change while they are loaded."""
    if repository not in _declarations:
        _declarations[repository] = declaration_of(repository)
    return _declarations[repository]


def _digest(said: Declaration) -> str:
    columns = [(dataset, schema.columns) for dataset, schema in sorted(said.columns.items())]
    return blake2b(f"{json.dumps(said.manifest)}{columns}".encode(), digest_size=12).hexdigest()


def _seen(dataset: DatasetRef, schema: TableSchema, now: float) -> Mapping[str, Any]:
    """The columns of a dataset, as an OpenLineage event that tells of nothing else."""
    fields = [
        {"name": column.name, "type": column.type, "description": column.description or ""} for column in schema.columns
    ]
    return {
        "eventTime": datetime.fromtimestamp(now, UTC).isoformat(),
        "producer": "https://dagster.io",
        "dataset": {"namespace": dataset.namespace, "name": dataset.name, "facets": {"schema": {"fields": fields}}},
    }


def _left_out(said: Declaration) -> str:
    """What is not declared and why, of much the first, in one line."""
    return "".join(f" {line}" for line in first_of([f"Not declared: {each}." for each in said.left_out]))


def _remedy(error: DataForgeError) -> str:
    """What only here is known to help."""
    declared_elsewhere = " An asset whose task another source declares names it by ledger_metadata(task=...)."
    return declared_elsewhere if isinstance(error, Conflict) else ""
