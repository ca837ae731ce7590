"""Runs a claimed asset in a process of its own, which stops in the middle of the step until it is killed."""

import sys
from pathlib import Path

from dagster import AssetExecutionContext, AssetsDefinition, DagsterInstance, asset, materialize

from dataforge_assets.claimed import claimed
from resources import LedgerResource
from tests.dagster.sensors.teller import DAYS, named

DAY = "2026-01-05"


def stopping(begun: Path | None) -> AssetsDefinition:
    """An asset that says it has begun and goes no further; without a file to say it in it is made at once."""

    @claimed
    @asset(name="orders", partitions_def=DAYS, metadata=named("orders"))
    def made(context: AssetExecutionContext) -> None:
        if begun is not None:
            begun.write_text(context.run.run_id, encoding="utf-8")
            sys.stdin.read()

    return made


if __name__ == "__main__":
    with DagsterInstance.get() as instance, LedgerResource(database_url=sys.argv[1]) as ledger:
        materialize([stopping(Path(sys.argv[2]))], partition_key=DAY, instance=instance, resources={"ledger": ledger})
