"""The application on a real, migrated database, spoken to over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dataforge import settings as installation
from dataforge.api.app import create_app
from dataforge.settings import Settings


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings that name the test's own database."""
    environ = {"DATAFORGE_DATABASE_URL": database_url, "DATAFORGE_HOME": str(tmp_path)}
    return installation.load(environ, tmp_path / "dataforge.toml")


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient[Litestar]]:
    """A client of a running application."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client
