"""What a mirror of Dagster calls itself where it says how far it has come."""

from dagster import SensorEvaluationContext


def mirror_name(context: SensorEvaluationContext, sensor: str) -> str:
    """The sensor with its code location, since each has one of its own."""
    location = location_of(context)
    return f"{sensor}.{location}" if location else sensor


def location_of(context: SensorEvaluationContext) -> str:
    """The name of the code location; empty for a sensor that no daemon runs."""
    return context.code_location_origin.location_name if context.code_location_origin else ""
