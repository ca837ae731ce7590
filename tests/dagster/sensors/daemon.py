"""Dagster's daemon for one round of its sensors, in a process of its own that a test starts: `python -m` this, with how
many events it may write before it kills itself, or `all`, and how many minutes the clock is ahead (a sensor ticks again
only after its interval).

The code is the daemon's own, but for the hook that kills; DAGSTER_HOME and LEDGER say on what it works.
"""

import logging
import os
import signal
import sys
from datetime import timedelta
from itertools import count

from dagster import AssetKey, AssetSpec, DagsterInstance, DailyPartitionsDefinition, Definitions
from dagster._core.definitions.events import AssetMaterialization, AssetObservation
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._time import get_current_datetime

from dataforge_sensors.ledger_to_dagster import ledger_to_dagster
from resources import LedgerResource
from resources.identity import ledger_metadata

LAKE = "s3://lake"
KEYS = [AssetKey(["lake", name]) for name in ("orders", "payments")]
DAYS = DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-03-01")

defs = Definitions(
    assets=[
        AssetSpec(key, partitions_def=DAYS, metadata=ledger_metadata(dataset=(LAKE, key.path[-1]))) for key in KEYS
    ],
    sensors=[ledger_to_dagster],
    resources={"ledger": LedgerResource(database_url=os.environ.get("LEDGER", ""))},
)


def main(written: str, minutes: int) -> None:
    """One round of all the sensors that are due."""
    if written != "all":
        _die_after(int(written))
    here = LoadableTargetOrigin(executable_path=sys.executable, module_name=__spec__.name, attribute="defs")
    target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(here, location_name="shop"))
    ahead = get_current_datetime() + timedelta(minutes=minutes)
    with (
        DagsterInstance.get() as instance,
        create_test_daemon_workspace_context(target, instance) as workspace,
        freeze_time(ahead),
    ):
        errors = [*filter(None, execute_sensor_iteration(workspace, logging.getLogger("daemon"), None, None))]
    assert not errors, errors


def _die_after(events: int) -> None:
    """Kills this process as soon as so many events are in the log, before the daemon can do anything else."""
    write, written = DagsterInstance.report_runless_asset_event, count(1)

    def hooked(instance: DagsterInstance, event: AssetMaterialization | AssetObservation) -> None:
        write(instance, event)
        if next(written) == events:
            os.kill(os.getpid(), signal.SIGKILL)

    DagsterInstance.report_runless_asset_event = hooked  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
