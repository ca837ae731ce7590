"""A selection of a dbt project that bounds its models by event time: dbt really runs it, once for all days of a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from dagster import (
    AssetsDefinition,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    ExecuteInProcessResult,
    materialize,
)
from dagster_dbt import DagsterDbtTranslator

from dataforge.storage.database import Database
from dataforge_assets.declaration import declaration_of
from dataforge_assets.hands.dbt import Selection, dbt_selection, event_time
from resources import LedgerResource
from resources.dbt import ShopDbt
from resources.terms import Terms

DBT = Path(sys.executable).with_name("dbt")
DAILY = DailyPartitionsDefinition("2026-11-01", end_date="2026-11-10")
pytestmark = pytest.mark.xdist_group("dbt")
FILES = {
    "dbt_project.yml": "{name: events, version: '1.0.0', profile: events, flags: {send_anonymous_usage_stats: false}}",
    "profiles.yml": "events: {target: dev, outputs: {dev: {type: duckdb, path: 'FOLDER/events.duckdb'}}}",
    "models/raw.sql": """
        {{ config(materialized='table', event_time='happened_at') }}
        select timestamp '2026-11-01 08:00:00' + to_days(cast(n as integer)) as happened_at, n
        from range(6) as numbers(n)
        """,
    "models/daily.sql": """
        {{ config(materialized='incremental', incremental_strategy='microbatch', event_time='happened_at',
                  batch_size='day', begin='2026-11-01') }}
        select happened_at, n from {{ ref('raw') }}
        """,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, with its raw events built."""
    folder = tmp_path_factory.mktemp("events")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace("FOLDER", str(folder)))
    where = ["--project-dir", str(folder), "--profiles-dir", str(folder)]
    subprocess.run([DBT, "--quiet", "run", "--select", "raw", *where], check=True, cwd=folder)
    return folder


def _selected(project: Path) -> AssetsDefinition:
    return dbt_selection(
        Selection(
            name="events",
            manifest=project / "target" / "manifest.json",
            translator=DagsterDbtTranslator(),
            partitions=DAILY,
            select="daily",
            bounds=event_time,
            target=lambda: project / "runs",
            terms=Terms(4.0, {"warehouse": 1}),
        )
    )


def _built(project: Path, database: Database, first: str, last: str) -> ExecuteInProcessResult:
    """Runs these days as a code location does that has declared its models."""
    selected, ledger = _selected(project), LedgerResource(database_url=database.url, environment="dev")
    dbt = ShopDbt(project_dir=str(project), profiles_dir=str(project), dbt_executable=str(DBT))
    doors = {"dbt": dbt, "ledger": ledger}
    said = declaration_of(Definitions([selected], resources=doors).get_repository_def())
    ledger.declare("dagster/events", said.manifest)
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    with DagsterInstance.ephemeral() as instance:
        return materialize([selected], instance=instance, resources=doors, tags=tags)


def test_the_days_of_a_run_and_no_other_are_built_by_one_invocation(project: Path, database: Database) -> None:
    result = _built(project, database, "2026-11-02", "2026-11-04")
    made = result.asset_materializations_for_node("events")
    assert sorted(str(event.partition) for event in made) == ["2026-11-02", "2026-11-03", "2026-11-04"]
    assert len({(event.tags or {})["dagster/data_version"] for event in made}) == 1
    with duckdb.connect(project / "events.duckdb", read_only=True) as connection:
        assert connection.execute("select day(happened_at) from main.daily order by 1").fetchall() == [(2,), (3,), (4,)]


def test_a_selection_has_the_pool_and_cost_of_its_terms(project: Path) -> None:
    asset = _selected(project)
    assert asset.op.pool == "warehouse"
    assert {"dataforge/cost": "4", "dataforge/pool.warehouse": "1"}.items() <= asset.op.tags.items()
