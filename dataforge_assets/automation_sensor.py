"""The sensor that evaluates automation conditions of the ledger's, and skips where the ledger cannot be asked.

Guarantees that such a tick requests nothing and keeps its cursor: the next one asks about the same, so that nothing is
lost and `~ledger_ready()` never becomes true because nobody could tell. A run of what a backfill has released is tagged
with it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from dagster import AutomationConditionSensorDefinition, SensorEvaluationContext
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.definitions.target import ExecutableDefinition
from dagster._utils.warnings import disable_dagster_warnings
from dagster_shared.record import copy

from dataforge_assets.released import heard, tagged
from resources.model import DataForgeError
from resources.refusal import one_line


class ReadySensor(AutomationConditionSensorDefinition):
    """Dagster's own sensor of conditions, run where these can reach the ledger."""

    def evaluate_tick(self, context: SensorEvaluationContext) -> SensorExecutionData:
        """One tick. Dagster wraps what a condition raises in an error of its own, one for each asset."""
        try:
            with heard() as released:
                data = super().evaluate_tick(context)
        except Exception as error:
            refusal = _refusal(error)
            if refusal is None:
                raise
            said = one_line(refusal, "Nothing is requested, and the cursor stays.")
            return SensorExecutionData(skip_message=said, cursor=context.cursor)
        return copy(data, run_requests=[tagged(each, released) for each in data.run_requests or ()])

    def with_attributes(
        self,
        *,
        jobs: Sequence[ExecutableDefinition] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Self:
        """The same sensor with other metadata."""
        with disable_dagster_warnings():
            copied = super().with_attributes(jobs=jobs, metadata=metadata)
        copied.__class__ = type(self)  # Dagster names its own class there
        assert isinstance(copied, type(self))
        return copied


def _refusal(error: BaseException | None) -> DataForgeError | None:
    """What the ledger said, among what an error was caused by."""
    while error is not None and not isinstance(error, DataForgeError):
        error = error.__cause__ or error.__context__
    return error
