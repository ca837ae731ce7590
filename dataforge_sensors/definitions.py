"""The sensors of this package, for the composition root of a code location; each needs the resource `ledger`."""

from dagster import SensorDefinition

from dataforge_sensors.assets_to_ledger import assets_to_ledger
from dataforge_sensors.dagster_to_ledger import dagster_to_ledger
from dataforge_sensors.ledger_checks import ledger_checks
from dataforge_sensors.ledger_to_dagster import ledger_to_dagster
from dataforge_sensors.sets_to_dagster import sets_to_dagster

SENSORS: tuple[SensorDefinition, ...] = (
    ledger_to_dagster,
    dagster_to_ledger,
    assets_to_ledger,
    sets_to_dagster,
    ledger_checks,
)
