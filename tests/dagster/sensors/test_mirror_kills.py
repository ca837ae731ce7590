"""Kills that fall where they are meant to: in the middle of a batch, and between the last write and the cursor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter

from dagster import DagsterInstance
from dagster._core.scheduler.instigation import SensorInstigatorData

from dataforge_sensors.read_back import mirror_id_of
from resources import LedgerResource
from tests.dagster.sensors import daemon
from tests.dagster.sensors.mirror_ticks import event, log


def test_a_daemon_that_is_killed_in_a_batch_and_before_its_cursor_leaves_each_state_there_once(
    instance: DagsterInstance, ledger: LedgerResource
) -> None:
    """Six states of two assets: the first daemon writes four of them, the next the other two, neither a cursor."""
    days = [f"2026-01-0{day}" for day in (1, 2, 3)]
    ledger.record([event(name, day, "succeeded", 1) for name in ("orders", "payments") for day in days])
    for minutes, (written, there) in enumerate([("4", 4), ("2", 6)]):
        assert _daemon(instance, ledger, written, minutes) == -signal.SIGKILL
        records = log(instance, daemon.KEYS)
        assert len(records) == there
        assert {record.asset_key for record in records} == {*daemon.KEYS}
        assert _cursor(instance) is None
    assert _daemon(instance, ledger, "all", 2) == 0
    assert _cursor(instance) is not None
    states = Counter(
        (record.asset_key, record.partition_key, mirror_id_of(record)) for record in log(instance, daemon.KEYS)
    )
    assert {*states.values()} == {1}
    assert {(key, day) for key, day, _ in states} == {(key, day) for key in daemon.KEYS for day in days}


def _daemon(instance: DagsterInstance, ledger: LedgerResource, written: str, minutes: int) -> int:
    """How a daemon ended that may write so many events."""
    environ = {**os.environ, "DAGSTER_HOME": instance.root_directory, "LEDGER": ledger.database_url}
    command = [sys.executable, "-m", daemon.__name__, written, str(minutes)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def _cursor(instance: DagsterInstance) -> str | None:
    [state] = instance.all_instigator_state()
    data = state.instigator_data
    assert isinstance(data, SensorInstigatorData)
    return data.cursor
