"""Which automation runs in this Dagster. A log that is filled anew looks to it like a world that has just changed."""

from dagster import AutomationConditionSensorDefinition, DagsterInstance, DefaultSensorStatus, RepositoryDefinition
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)

AUTOMATION = (SensorType.AUTOMATION, SensorType.AUTO_MATERIALIZE)


def running(instance: DagsterInstance, repository: RepositoryDefinition) -> tuple[str, ...]:
    """The names of the automation condition sensors that run: those of any code location whose state this Dagster
    holds, and those of this one that run by their default and have no state yet."""
    states = [
        state for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR) if _is_automation(state)
    ]
    defaults = {
        sensor.name: sensor.default_status is DefaultSensorStatus.RUNNING
        for sensor in repository.sensor_defs
        if isinstance(sensor, AutomationConditionSensorDefinition)
    }
    begun = {state.name for state in states if _runs(state, defaults)}
    known = {state.name for state in states}
    return tuple(sorted(begun | {name for name, runs in defaults.items() if runs and name not in known}))


def _is_automation(state: InstigatorState) -> bool:
    data = state.instigator_data
    return isinstance(data, SensorInstigatorData) and data.sensor_type in AUTOMATION


def _runs(state: InstigatorState, defaults: dict[str, bool]) -> bool:
    """Whether it runs; of one whose state is left to its definition, the definition as it is now says so."""
    if state.status is InstigatorStatus.DECLARED_IN_CODE:
        return defaults.get(state.name, True)
    return state.status is not InstigatorStatus.STOPPED
