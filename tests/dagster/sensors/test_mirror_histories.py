"""Any history: what Dagster shows in the end is what the ledger believes, and no state is there twice."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from dagster import AssetKey, AssetSpec, DagsterInstance, DailyPartitionsDefinition, Definitions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataforge_sensors import ledger_to_dagster
from dataforge_sensors.read_back import mirror_id_of
from resources import LedgerResource
from resources.identity import ledger_metadata
from resources.model import DatasetRef
from tests.dagster.sensors.mirror_ticks import Mirror, log

DAYS = DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-02-01")
STATES = ("running", "succeeded", "failed", "skipped", "up_for_retry")
_numbers = count()

recorded = st.tuples(
    st.just("record"),
    st.sampled_from(["2026-01-01", "2026-01-02"]),
    st.sampled_from(STATES),
    st.integers(1, 4),
    st.integers(0, 9),
)
ticked = st.tuples(st.just("tick"))
killed = st.tuples(st.just("kill"), st.integers(0, 3))
forgotten = st.tuples(st.just("forget"))  # the cursor alone is lost


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=st.lists(st.one_of(recorded, recorded, ticked, killed, forgotten), max_size=14), most=st.integers(1, 5))
def test_the_mirror_ends_as_the_ledger_is_and_holds_each_state_once(
    instance: DagsterInstance, ledger: LedgerResource, steps: list[tuple[str, ...]], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_to_dagster, "MOST", most)  # states in one tick
        _holds(instance, ledger, steps)


def _holds(instance: DagsterInstance, ledger: LedgerResource, steps: list[tuple[str, ...]]) -> None:
    number = next(_numbers)  # an asset and a dataset of its own for each history, on one instance and one ledger
    key, name = AssetKey([f"history_{number}"]), f"history_{number}"
    asset = AssetSpec(key, partitions_def=DAYS, metadata=ledger_metadata(dataset=("s3://lake", name)))
    mirror = Mirror(instance, ledger, Definitions(assets=[asset]))
    for at, step in enumerate(steps):
        match step:
            case ("record", day, state, run, minute):
                moment = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=int(minute), seconds=at)
                ledger.record(
                    [
                        {
                            "time": moment.isoformat(),
                            "task": {"namespace": "airflow", "name": name},
                            "partition": day,
                            "run": f"{day} {run}",
                            "state": state,
                            "outputs": [{"namespace": "s3://lake", "name": name, "partition": day}],
                        }
                    ]
                )
            case ("kill", events):
                mirror.tick(killed_after=int(events))
            case ("forget",):
                mirror.cursor = None
            case _:
                mirror.tick()
    mirror.until_quiet()
    records = log(instance, [key])
    newest = {record.partition_key: mirror_id_of(record) for record in records}
    believed = {
        change.partition: change.mirror_id for change in ledger.latest([DatasetRef("s3://lake", name)], each=30)
    }
    assert newest == believed
    assert max(Counter(map(mirror_id_of, records)).values(), default=1) == 1
