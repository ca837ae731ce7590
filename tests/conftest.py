"""The real PostgreSQL behind the tests, and a fresh, migrated database for each test that asks.

The server is the embedded one, started once per test process, or the one that DATAFORGE_TEST_DATABASE_URL
names (a role that may create databases and roles). A test's database is a clone of a migrated template.

Properties are tried on the same examples each time, so that a failure belongs to the change that brought it; `make
explore` looks for new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import settings

from benchmarks.scratch import DISPOSABLE, new_database, scratch_server
from dataforge.storage.database import Database, migrate

settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile("same")

LONGEST = ("shop", "dagster-installation", "dbt")  # groups of a minute and more, the longest first


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--screenshots FOLDER`: where the tests of the pages leave what they saw."""
    parser.addoption("--screenshots", metavar="FOLDER", help="keep pictures of the pages in this folder")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those that keep one process longest begin first (`make test` turns off
    xdist's own order, by the number of tests)."""
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    mark = item.get_closest_marker("xdist_group")
    group = mark.args[0] if mark else None
    return LONGEST.index(group) if group in LONGEST else len(LONGEST)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server on which databases may be created."""
    with scratch_server(DISPOSABLE) as url:
        yield url


@pytest.fixture(scope="session")
def template_database(postgres_server: str) -> Iterator[str]:
    """The name of a database with every migration applied and nothing in it, connected to by nobody."""
    with new_database(postgres_server) as url:
        migrate(url)
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def database_url(postgres_server: str, template_database: str) -> Iterator[str]:
    """The URL of a fresh database of the newest schema."""
    with new_database(postgres_server, template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh database without any schema."""
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database of the newest schema."""
    database = Database(database_url, min_size=1, max_size=4)
    yield database
    database.close()


@pytest.fixture(scope="module")
def module_database(postgres_server: str, template_database: str) -> Iterator[Database]:
    """A fresh database that the tests of one module share; none of them may leave anything behind."""
    with new_database(postgres_server, template_database) as url:
        database = Database(url, min_size=1, max_size=4)
        yield database
        database.close()
