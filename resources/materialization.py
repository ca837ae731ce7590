"""What Dagster's events tell of what was made, in the words of the ledger's native events."""

from typing import Any

from dagster import AssetCheckEvaluation, AssetMaterialization, TableSchema
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from resources.model import DatasetRef

_ROWS = ("dagster/partition_row_count", "dagster/row_count")
_FAILED_ROWS = "dagster_dbt/failed_row_count"


def output_of(dataset: DatasetRef | None, partition: str | None, made: AssetMaterialization) -> list[dict[str, Any]]:
    """What a materialization wrote of a partition of its asset; nothing where the asset is no dataset."""
    named = named_of(dataset, partition)
    counted = [made.metadata[name].value for name in _ROWS if name in made.metadata]
    rows = next((count for count in counted if isinstance(count, int) and count >= 0), None)
    told = {"version": (made.tags or {}).get(DATA_VERSION_TAG), "rows": rows, "columns": _columns(made)}
    return [named | {name: value for name, value in told.items() if value is not None}] if named else []


def _columns(made: AssetMaterialization) -> list[dict[str, str]] | None:
    """Its columns, where whoever made it says so."""
    schema = getattr(made.metadata.get("dagster/column_schema"), "schema", None)
    if not isinstance(schema, TableSchema):
        return None
    return [{"name": column.name, "type": column.type} for column in schema.columns if column.name] or None


def named_of(dataset: DatasetRef | None, partition: str | None) -> dict[str, Any] | None:
    """A partition of a dataset, as native events name it."""
    if dataset is None:
        return None
    named = {"namespace": dataset.namespace, "name": dataset.name}
    return named | ({"partition": plain(partition)} if partition else {})


def plain(partition: str | None) -> str | None:
    """The key as the string that it is: of two dimensions Dagster's is of a class of its own, which no JSON takes."""
    return None if partition is None else str(partition)


def finding_of(check: AssetCheckEvaluation) -> str:
    """What a check that did not pass has found, in a line."""
    if check.description:
        return check.description
    found = check.metadata.get(_FAILED_ROWS)
    return f"{check.check_name} did not pass" + (f" (failing rows: {found.value})" if found else "")
