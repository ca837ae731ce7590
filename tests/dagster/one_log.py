"""A Dagster instance for tests that read its log as the mirrors do: on SQLite, with all runs in one log."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance
from dagster._core.test_utils import instance_for_test


@contextmanager
def instance_of_one_log(folder: Path) -> Iterator[DagsterInstance]:
    """An instance whose log lies in this folder."""
    log = {
        "module": "dagster._core.storage.event_log",
        "class": "ConsolidatedSqliteEventLogStorage",
        "config": {"base_dir": str(folder)},
    }
    with instance_for_test(overrides={"event_log_storage": log}) as instance:
        yield instance
