"""Where the ledger is, by the settings of this installation.

Guarantees that nothing is connected to, and that a place which the environment names stays a reference to its
variable: it is read where the resource is used, and no page of Dagster shows it.
"""

import os

from dagster import EnvVar

from dataforge import settings as installation
from dataforge.model.verdict import Verdict
from resources.airflow import AirflowResource
from resources.ledger import LedgerResource


def ledger_resource() -> LedgerResource:
    """The ledger at this installation's API, or where DATAFORGE_LEDGER says: a server's URL or a database's."""
    settings = installation.current()
    place = given("DATAFORGE_LEDGER", settings.ledger or _url(settings.host, settings.port))
    by_http = settings.ledger is None or settings.ledger.startswith("http")
    return LedgerResource(
        url=place if by_http else "",
        database_url="" if by_http else place,
        environment=given("DATAFORGE_ENVIRONMENT", settings.environment),
        api_key=given("DATAFORGE_API_KEY", settings.api_key or ""),
    )


def airflow_resource() -> AirflowResource:
    """The Airflow that DATAFORGE_AIRFLOW_URL names; without it, one that says so as soon as it is asked."""
    named = {part: f"DATAFORGE_AIRFLOW_{part.upper()}" for part in ("url", "user", "password", "token")}
    return AirflowResource(**{part: given(name, "") for part, name in named.items()})


def may_start(verdict: Verdict) -> bool:
    """Whether something may be started on a verdict that lets it run: on what was only observed, where this
    installation trusts the namespace."""
    from dataforge.dispatch.claim import is_ground  # which imports all that a claim does

    return is_ground(verdict, installation.current().trusted)


def webserver() -> str:
    """Where the pages of this installation's Dagster are."""
    settings = installation.current()
    return _url(settings.host, settings.dagster_port)


def ledger_pages() -> str | None:
    """Where this installation's ledger lists partitions, to be asked by kind, namespace and name; None where it has no
    server."""
    settings = installation.current()
    base = settings.ledger or _url(settings.host, settings.port)
    return f"{base.rstrip('/')}/api/v1/{settings.environment}/partitions" if base.startswith("http") else None


def given(name: str, otherwise: str) -> str:
    """The variable, where the environment has it, else what the settings say."""
    return EnvVar(name) if os.environ.get(name) else otherwise


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
