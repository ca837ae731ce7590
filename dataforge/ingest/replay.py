"""Verifying: the recorded events and the standing definitions are read again, into an environment of their own
that is never committed, and the state they give is compared with the live one."""

from uuid import uuid4

import msgspec

from dataforge.ingest import native, openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import restore, restore_history
from dataforge.ledger.record import apply
from dataforge.ledger.verify import Difference, first_difference
from dataforge.model.event import Event
from dataforge.storage import definition as definitions
from dataforge.storage import environment as environments
from dataforge.storage import event as event_log
from dataforge.storage.database import Connection, Database
from dataforge.storage.event import Recorded


class Verification(msgspec.Struct, frozen=True):
    """How much was read again, and the first place where the live state parts from what it gives."""

    events: int
    definitions: int
    difference: Difference | None


def verify(database: Database, environment: str) -> Verification:
    """Rebuilds an environment's state beside the live one. Nothing is changed, and nobody has to wait: both are
    read as they were at one moment."""
    with database.transaction() as connection:
        connection.execute("set transaction isolation level repeatable read")
        live = environments.find(connection, environment)
        with connection.transaction(force_rollback=True):
            rebuilt = environments.create_passing(connection, f"verify-{uuid4().hex[:12]}")
            count = _replay(connection, live.id, rebuilt.id)
            manifests = definitions.manifests(connection, live.id)
            for manifest in manifests:
                restore(connection, rebuilt.id, manifest)
            restore_history(connection, live.id, rebuilt.id)
            return Verification(count, len(manifests), first_difference(connection, live.id, rebuilt.id))


def _replay(connection: Connection, live: int, rebuilt: int) -> int:
    count = 0
    for page in event_log.read_all(connection, live):
        apply(connection, rebuilt, [_parse(event) for event in page])
        count += len(page)
    return count


def _parse(event: Recorded) -> Event:
    read = native.parse if event.kind in ("native", "control") else openlineage.parse
    return read(event.body, NOTHING, event.id)
