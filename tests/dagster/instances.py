"""A real Dagster instance on real PostgreSQL for each test that asks: a clone of a database that Dagster has made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from dagster import DagsterInstance
from dagster._core.test_utils import instance_for_test

from benchmarks.scratch import new_database

Instances = Callable[[], DagsterInstance]


@pytest.fixture(scope="session")
def dagster_template(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a database with the tables of Dagster and nothing in them, connected to by nobody."""
    with new_database(postgres_server) as url:
        with _instance(url, tmp_path_factory.mktemp("dagster")):
            pass
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def new_instance(postgres_server: str, dagster_template: str, tmp_path: Path) -> Iterator[Instances]:
    """Makes instances, each on a database of its own: the second is what is left after the loss of the first's."""
    with ExitStack() as stack:

        def made() -> DagsterInstance:
            home = tmp_path / f"dagster-{len(list(tmp_path.iterdir()))}"
            home.mkdir()
            return stack.enter_context(
                _instance(stack.enter_context(new_database(postgres_server, dagster_template)), home)
            )

        yield made


@pytest.fixture
def instance(new_instance: Instances) -> DagsterInstance:
    """A fresh instance."""
    return new_instance()


@contextmanager
def _instance(url: str, home: Path) -> Iterator[DagsterInstance]:
    # Plain postgresql:// would take psycopg 3, with which Dagster's storage fails.
    storage = {"postgres": {"postgres_url": url.replace("postgresql://", "postgresql+psycopg2://", 1)}}
    overrides = {"storage": storage, "telemetry": {"enabled": False}}
    with instance_for_test(temp_dir=str(home), overrides=overrides) as instance:
        yield instance
