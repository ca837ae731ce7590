"""The application on a real, migrated database, spoken to over HTTP.

Routes and OpenAPI document are the same for all tests and take a fifth of a second to make: they are made once. What an
application keeps from one request to the next is made for each test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dataforge import settings as installation
from dataforge.api.app import create_app, state_of
from dataforge.settings import Settings


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings that name the test's own database."""
    environ = {"DATAFORGE_DATABASE_URL": database_url, "DATAFORGE_HOME": str(tmp_path)}
    return installation.load(environ, tmp_path / "dataforge.toml")


@pytest.fixture(scope="session")
def application() -> Litestar:
    """The application; whose settings and database it works with is said by each test."""
    return create_app(installation.load({}, Path("nowhere") / "dataforge.toml"))


@pytest.fixture
def client(application: Litestar, settings: Settings) -> Iterator[TestClient[Litestar]]:
    """A client of a running application."""
    application.state = state_of(settings)
    with TestClient(application, raise_server_exceptions=False) as client:
        yield client
