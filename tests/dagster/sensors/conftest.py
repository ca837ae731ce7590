"""The ledger beside Dagster's instance."""

from collections.abc import Iterator

import pytest

from resources import LedgerResource


@pytest.fixture
def ledger(database_url: str) -> Iterator[LedgerResource]:
    """The real ledger, on a fresh database, without a server between."""
    with LedgerResource(database_url=database_url) as resource:
        yield resource
