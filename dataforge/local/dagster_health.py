"""Whether Dagster works: its webserver answers, every code location is loaded, the daemon's threads have reported.

Guarantees that a heartbeat of a daemon that has ended is not taken for one of the daemon that runs, though Dagster
itself calls it healthy for half an hour.
"""

from __future__ import annotations

import http.client
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from dataforge.model.errors import DefinitionsError
from dataforge.settings import Settings

_SECONDS = 10
_UNREACHABLE = "DagsterUserCodeUnreachableError"  # its code server is just being started again
_STORAGE = frozenset({"DagsterPostgresException", "OperationalError"})  # its database is just being started again
_DOCUMENT = Path(__file__).with_name("dagster_health.graphql")


def trouble(settings: Settings, daemon_since: datetime | None) -> str | None:
    """What keeps Dagster from being ready; None when it is. `daemon_since`: when the daemon was started.

    Raises `DefinitionsError` for a code location that cannot be loaded, since waiting mends nothing.
    """
    try:
        _ask(settings, "GET", "/server_info")
        said = _query(settings, "Health")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    found = said.get("data")
    if not found:  # GraphQL's own way to say that its storage does not answer just now
        return f"the webserver cannot tell: {said.get('errors')}"
    if without := _without_storage(found["workspaceOrError"]):
        return _reloaded(settings, without)
    return _trouble_of_code(found["workspaceOrError"]) or _trouble_of_daemon(found["instance"], daemon_since)


def _without_storage(workspace: dict[str, Any]) -> list[str]:
    """The code locations that found no database when they were loaded."""
    return [
        entry["name"]
        for entry in workspace.get("locationEntries", ())
        if _STORAGE & {each["className"] for each in _chain(entry["locationOrLoadError"] or {})}
    ]


def _chain(error: dict[str, Any]) -> list[dict[str, Any]]:
    return [error, *(each["error"] for each in error["errorChain"])] if "message" in error else []


def _reloaded(settings: Settings, names: list[str]) -> str:
    """The webserver keeps what it failed to load until it is asked to load it again."""
    try:
        _query(settings, "Reload")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    return f"the code location {' and '.join(names)} found no database, and is loaded again"


def _query(settings: Settings, operation: str) -> dict[str, Any]:
    document = _DOCUMENT.read_text(encoding="utf-8")
    return _ask(settings, "POST", "/graphql", json.dumps({"query": document, "operationName": operation}))


def _ask(settings: Settings, method: str, path: str, body: str | None = None) -> dict[str, Any]:
    connection = http.client.HTTPConnection(settings.host, settings.dagster_port, timeout=_SECONDS)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ValueError(f"{path}: {answer.status} {said[:500].decode(errors='replace')}")
    found: dict[str, Any] = json.loads(said)
    return found


def _trouble_of_code(workspace: dict[str, Any]) -> str | None:
    if "locationEntries" not in workspace:
        return str(workspace.get("message", workspace))
    for entry in workspace["locationEntries"]:
        if chain := _chain(entry["locationOrLoadError"] or {}):
            if any(each["className"] == _UNREACHABLE for each in chain):
                return f"the code server of {entry['name']} does not answer"
            raise DefinitionsError(
                f"the code location {entry['name']} cannot be loaded: {chain[-1]['message'].strip()}"
            )
        if entry["loadStatus"] != "LOADED":
            return f"the code location {entry['name']} is still loading"
    return None


def _trouble_of_daemon(instance: dict[str, Any], since: datetime | None) -> str | None:
    # The supervisor knows the start to the second.
    start = since.timestamp() if since else float("inf")
    for status in instance["daemonHealth"]["allDaemonStatuses"]:
        if not status["required"]:
            continue
        if (status["lastHeartbeatTime"] or 0) < start:
            return f"the daemon's thread {status['daemonType']} has not reported yet"
        if not status["healthy"]:
            said = "; ".join(error["message"].strip() for error in status["lastHeartbeatErrors"])
            return f"the daemon's thread {status['daemonType']} is not healthy: {said}"
    return None
