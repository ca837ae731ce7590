"""What a mirror of Dagster calls itself where it says how far it has come."""

from dagster import SensorEvaluationContext


def mirror_name(context: SensorEvaluationContext, sensor: str) -> str:
    """The sensor with its code location, since each has one of its own."""
    origin = context.code_location_origin
    return f"{sensor}.{origin.location_name}" if origin else sensor
