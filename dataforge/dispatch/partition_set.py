"""Registering keys of a dynamic set, and taking keys off it: each an order of its own, kept with who gave it and why.

Guarantees that all keys named are recorded or none, and that an order which says what stands already is still kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dataforge.ingest import native
from dataforge.ingest.redaction import NOTHING, Redaction
from dataforge.ledger.record import record
from dataforge.model.partition_set import Registered, Registering
from dataforge.storage import environment as environments
from dataforge.storage.database import Database


def register(
    database: Database,
    environment: str,
    name: str,
    wanted: Registering,
    now: datetime,
    *,
    redaction: Redaction = NOTHING,
) -> Registered:
    """Registers keys in the set `name` and takes others off it. A set begins with its first key.

    Raises InvalidInput for keys that cannot be, for no keys at all, and for a key taken off without a reason.
    """
    wanted.check()
    said = [_order("register", name, wanted.register, wanted, now), _order("delist", name, wanted.delist, wanted, now)]
    events = [native.parse(document, redaction) for document in said if document["keys"]]
    with database.transaction() as connection:
        record(connection, environments.lock(connection, environment), events)
    return Registered(name, len(set(wanted.register)), len(set(wanted.delist)))


def _order(verb: str, name: str, keys: tuple[str, ...], wanted: Registering, now: datetime) -> dict[str, Any]:
    found = {"time": now.isoformat(), "control": verb, "set": name, "keys": list(keys), "by": wanted.by}
    return found if wanted.reason is None else {**found, "reason": wanted.reason}
