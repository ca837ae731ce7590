"""dbt on the shop's warehouse: the project is in the checkout, everything that it writes under $DATAFORGE_HOME/shop.

Guarantees that places are looked up when a run asks for them, never at import, and that a run writes nothing into the
checkout and asks no package registry for newer releases.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path

import duckdb
from dagster_dbt import DbtCliResource
from packaging.version import Version

from dataforge.settings import current, project_folder

PROJECT = project_folder() / "examples" / "shop" / "dbt"
MANIFEST = PROJECT / "manifest.json"


@dataclass(frozen=True, slots=True)
class Places:
    """Where dbt reads and writes."""

    lake: Path  # files by day, as Airflow and Spark left them
    warehouse: Path  # DuckDB's file
    target: Path  # what dbt compiled, its log and the results of its last runs

    @property
    def variables(self) -> dict[str, str]:
        """The environment that the project's profile and sources read, and no colours in messages that pages show."""
        return {"SHOP_LAKE": str(self.lake), "SHOP_WAREHOUSE": str(self.warehouse), "DBT_USE_COLORS": "false"}


def places(environ: Mapping[str, str] = os.environ) -> Places:
    """The places of this installation; SHOP_LAKE and SHOP_WAREHOUSE, where set, name others."""
    state = current().home / "shop"
    lake, warehouse = environ.get("SHOP_LAKE"), environ.get("SHOP_WAREHOUSE")
    return Places(
        lake=Path(lake) if lake else state / "lake",
        warehouse=Path(warehouse) if warehouse else state / "shop.duckdb",
        target=state / "dbt",
    )


class ShopDbt(DbtCliResource):
    """dbt's command line on the shop's project."""

    @cached_property
    def _cli_version(self) -> Version:
        """Dagster would run `dbt --version`, which takes two seconds and asks a package registry what is newest."""
        return Version(installed("dbt-core"))


def dbt_resource() -> ShopDbt:
    """The resource `dbt`. Its command is that of this Python, wherever PATH leads."""
    command = Path(sys.executable).with_name("dbt")
    return ShopDbt(project_dir=str(PROJECT), profiles_dir=str(PROJECT), dbt_executable=str(command))


@contextmanager
def variables(found: Places) -> Iterator[None]:
    """Sets the project's variables for what is started inside; Dagster passes dbt the environment of its own process,
    and takes no other."""
    found.warehouse.parent.mkdir(parents=True, exist_ok=True)
    before = {name: os.environ.get(name) for name in found.variables}
    os.environ.update(found.variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_ROWS = "select ds, count(*) from query_table($model) where ds >= $first and ds < $past group by ds"


def rows(warehouse: Path, model: str, first: date, past: date) -> dict[str, int]:
    """How many rows each partition of a model has, by its key, from `first` up to, and without, `past`. Partitions
    without rows are not there."""
    with duckdb.connect(warehouse, read_only=True) as connection:
        found = connection.execute(_ROWS, {"model": f"main.{model}", "first": first, "past": past}).fetchall()
    return {ds.isoformat(): count for ds, count in found}
