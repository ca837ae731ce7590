"""A real Dagster instance for each test that asks."""

from tests.dagster.instances import dagster_template, instance, new_instance

__all__ = ["dagster_template", "instance", "new_instance"]
