"""Which automation runs in this Dagster that would take the past for news: a log that is filled anew looks to it like a
world that has just changed. What runs nothing but what the ledger lets run is not misled by that.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dagster import AutomationConditionSensorDefinition, DagsterInstance, DefaultSensorStatus, RepositoryDefinition
from dagster._core.definitions.assets.graph.base_asset_graph import BaseEntityNode
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)

from dataforge_assets.automation import is_within_ledger

_WITHIN = "dataforge/within_ledger/"  # and a code location: where Dagster's daemons keep what they remember
AUTOMATION = (SensorType.AUTOMATION, SensorType.AUTO_MATERIALIZE)


def announce(instance: DagsterInstance, repository: RepositoryDefinition, location: str) -> None:
    """Tells the other code locations which sensors of this one run nothing but what the ledger lets run: the state of a
    sensor, which is all that they see of it, does not show its conditions."""
    key, value = _WITHIN + location, json.dumps(sorted(_within(repository)))
    if instance.daemon_cursor_storage.get_cursor_values({key}).get(key) != value:
        instance.daemon_cursor_storage.set_cursor_values({key: value})


def misled(instance: DagsterInstance, repository: RepositoryDefinition) -> tuple[str, ...]:
    """The names of the automation condition sensors that run and look at more than the ledger: those of any code
    location whose state this Dagster holds, and those of this one that run by their default and have no state yet."""
    states = [
        state for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR) if _is_automation(state)
    ]
    defaults = {sensor.name: sensor.default_status is DefaultSensorStatus.RUNNING for sensor in _sensors(repository)}
    known, within = {state.name for state in states}, _announced(instance, {_location(state) for state in states})
    begun = {state.name for state in states if _runs(state, defaults) and state.name not in within[_location(state)]}
    begun |= {name for name, runs in defaults.items() if runs and name not in known} - _within(repository)
    return tuple(sorted(begun))


def _sensors(repository: RepositoryDefinition) -> Iterator[AutomationConditionSensorDefinition]:
    return (each for each in repository.sensor_defs if isinstance(each, AutomationConditionSensorDefinition))


def _within(repository: RepositoryDefinition) -> set[str]:
    return {sensor.name for sensor in _sensors(repository) if _is_within_ledger(sensor, repository)}


def _announced(instance: DagsterInstance, locations: set[str]) -> Mapping[str, Collection[str]]:
    keys = {_WITHIN + location: location for location in locations}
    found = instance.daemon_cursor_storage.get_cursor_values(set(keys)) if keys else {}
    return {location: json.loads(found.get(key, "[]")) for key, location in keys.items()}


def _is_within_ledger(sensor: AutomationConditionSensorDefinition, repository: RepositoryDefinition) -> bool:
    """Whether what the sensor may have run, checks too, is what the ledger lets run."""
    graph = repository.asset_graph
    chosen: list[BaseEntityNode[Any]] = [graph.get(key) for key in sensor.asset_selection.resolve(graph)]
    chosen += [graph.get(key) for key in sensor.asset_selection.resolve_checks(graph)]
    conditions = [each.automation_condition for each in chosen if each.automation_condition is not None]
    return bool(conditions) and all(map(is_within_ledger, conditions))


def _location(state: InstigatorState) -> str:
    return state.origin.repository_origin.code_location_origin.location_name


def _is_automation(state: InstigatorState) -> bool:
    data = state.instigator_data
    return isinstance(data, SensorInstigatorData) and data.sensor_type in AUTOMATION


def _runs(state: InstigatorState, defaults: dict[str, bool]) -> bool:
    """Whether it runs; of one whose state is left to its definition, the definition as it is now says so."""
    if state.status is InstigatorStatus.DECLARED_IN_CODE:
        return defaults.get(state.name, True)
    return state.status is not InstigatorStatus.STOPPED
