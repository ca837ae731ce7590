"""A code location of 5,000 assets of its own: what the tick takes that declares them, over HTTP."""

from __future__ import annotations

from functools import partial
from random import Random

from dagster import (
    AssetsDefinition,
    DagsterInstance,
    DailyPartitionsDefinition,
    Definitions,
    SensorResult,
    asset,
    build_sensor_context,
)

from benchmarks.figure import Bench, timed
from benchmarks.ingest import server_version
from benchmarks.scratch import scratch_database
from benchmarks.served import served
from dataforge_sensors.assets_to_ledger import assets_to_ledger
from resources import LedgerResource

ASSETS, UPSTREAMS = 5_000, 20  # of each
FACTOR = ASSETS / 120_000
_DAYS = DailyPartitionsDefinition("2026-11-01")


def main() -> None:
    """Measures the first tick, and one that finds all declared."""
    with scratch_database({}) as database, served(database.url) as one, DagsterInstance.ephemeral() as instance:
        bench = Bench("location", server_version(database))
        ledger = LedgerResource(url=one.root, environment="dev")
        definitions = Definitions(assets=_assets(), resources={"ledger": ledger})
        tick = partial(_tick, definitions, ledger, instance)
        for figure, expected in (("declare", f"created {2 * ASSETS}"), ("declare.again", "created 0")):
            said: list[str] = []
            bench.times(f"location.{figure}", [timed(lambda: said.append(tick()))], factor=FACTOR)  # noqa: B023
            assert expected in said[0], said[0]


def _assets() -> list[AssetsDefinition]:
    random = Random(3)
    names = [f"asset_{number:04}" for number in range(ASSETS)]
    return [
        asset(name=name, partitions_def=_DAYS, deps=random.sample(names[:number], min(number, UPSTREAMS)))(_nothing)
        for number, name in enumerate(names)
    ]


def _nothing() -> None: ...


def _tick(definitions: Definitions, ledger: LedgerResource, instance: DagsterInstance) -> str:
    with build_sensor_context(instance=instance, definitions=definitions, resources={"ledger": ledger}) as context:
        said = assets_to_ledger(context)
    assert isinstance(said, SensorResult), said
    return str(said.skip_reason)
