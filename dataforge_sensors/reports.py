"""What is reported to Dagster without a run: by a person (the button "Report materialization"), or by a program.

Such a report is a fact that Dagster believes, so the ledger is told of it, as a run of the asset's task that has
succeeded. Guarantees that a report has one name, made of itself alone, by which it is told once and does not come back.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from dagster import AssetKey, EventLogRecord

from dataforge_sensors.mirror import REPORT
from dataforge_sensors.run_events import Native, Untold, is_mirrored
from dataforge_sensors.window import Asset
from resources.materialization import output_of, plain

MOST_NOTE = 1_000  # characters of what the person has written


def name_of(record: EventLogRecord) -> str:
    """The name of a report: its moment, and its place in the log. Neither names it alone, since the log may be lost
    and begun anew, and several partitions are reported at once."""
    return f"reported__{_moment(record)}__{record.storage_id}"


def report_of(record: EventLogRecord, assets: Mapping[AssetKey, Asset]) -> Native | Untold | None:
    """The native event of a report, or why there is none; None for what is not to be told: anything but a
    materialization, what came from the ledger, and what the ledger does not know. It names no platform, since the
    asset's own task keeps its own. To be asked within `partitions_of`."""
    made = record.asset_materialization
    asset = assets.get(made.asset_key) if made else None
    if made is None or asset is None or asset.task is None or is_mirrored(made):
        return None
    if misfit := asset.misfit(made.partition):
        return Untold(misfit)
    name = name_of(record)
    event = {
        "id": name,
        "time": _moment(record),
        "task": {"namespace": asset.task.namespace, "name": asset.task.name},
        "state": "succeeded",
        "run": name,
        "partition": plain(made.partition),
        "outputs": output_of(asset.dataset, made.partition, made),
        "source": {REPORT: name, **({"note": made.description[:MOST_NOTE]} if made.description else {})},
    }
    return {key: value for key, value in event.items() if value not in (None, [])}


def _moment(record: EventLogRecord) -> str:
    return datetime.fromtimestamp(record.timestamp, UTC).isoformat()
