"""How a node of the dbt project looks as an asset, and where the ledger has it."""

from collections.abc import Mapping
from typing import Any

from dagster import (
    AssetCheckSpec,
    AssetKey,
    AssetSpec,
    AutomationCondition,
    PartitionMapping,
    TimeWindowPartitionMapping,
)
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject
from dagster_shared.record import replace

from dataforge_assets.automation import when_ready
from resources.identity import ledger_metadata
from resources.model import dbt_task_name

NAMESPACE = "shop-dbt"
WAREHOUSE = "duckdb://shop.duckdb"
_Props = Mapping[str, Any]
_READY = when_ready()


class ShopTranslator(DagsterDbtTranslator):
    """Models are `warehouse/<name>`, sources the lake's assets; owner, domain and partitions are those of meta."""

    def __init__(self) -> None:
        # The lake's assets say themselves what they are; a second opinion from dbt's sources would contradict them.
        super().__init__(DagsterDbtTranslatorSettings(enable_source_metadata=False))

    def get_asset_key(self, dbt_resource_props: _Props) -> AssetKey:
        """`lake/<table>` for a source, `warehouse/<model>` for what dbt builds."""
        source = dbt_resource_props["resource_type"] == "source"
        return AssetKey([dbt_resource_props["source_name"] if source else "warehouse", dbt_resource_props["name"]])

    def get_description(self, dbt_resource_props: _Props) -> str:
        """The model's description, without its SQL."""
        return str(dbt_resource_props["description"])

    def get_owners(self, dbt_resource_props: _Props) -> list[str] | None:
        """The owner in meta."""
        owner = dbt_resource_props["meta"].get("owner")
        return [owner] if owner else None

    def get_automation_condition(self, dbt_resource_props: _Props) -> AutomationCondition[AssetKey] | None:
        """A model runs as soon as the ledger lets it, where the sensor `ledger_ready` is on."""
        return _READY if dbt_resource_props["resource_type"] == "model" else None

    def get_tags(self, dbt_resource_props: _Props) -> Mapping[str, str]:
        """The domain beside dbt's own tags."""
        domain = _said(dbt_resource_props).get("domain")
        return {**super().get_tags(dbt_resource_props), **({"domain": domain} if domain else {})}

    def get_metadata(self, dbt_resource_props: _Props) -> Mapping[str, Any]:
        """What dbt knows of the table, and the model's names in the ledger."""
        known = super().get_metadata(dbt_resource_props)
        if dbt_resource_props["resource_type"] == "source":
            return known
        relation = ".".join(dbt_resource_props[part] for part in ("database", "schema", "alias"))
        return {**known, **ledger_metadata(_task(dbt_resource_props), (WAREHOUSE, relation))}

    def get_partition_mapping(
        self, dbt_resource_props: _Props, dbt_parent_resource_props: _Props
    ) -> PartitionMapping | None:
        """A week needs all its days; what is cut alike needs the same partition, which is Dagster's default."""
        kinds = [_cut(props) for props in (dbt_resource_props, dbt_parent_resource_props)]
        return TimeWindowPartitionMapping() if kinds == ["weekly", "daily"] else None

    def get_asset_check_spec(
        self, asset_spec: AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> AssetCheckSpec | None:
        """A test as a check, with the test's task in the ledger."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        if spec is None:
            return None
        test = self.get_resource_props(manifest, unique_id)
        metadata = {**spec.metadata, **ledger_metadata(_task(test))}
        return replace(spec, metadata=metadata, description=test["description"] or _sentence(test))


def _task(props: _Props) -> tuple[str, str]:
    return (NAMESPACE, dbt_task_name(props["unique_id"]))


def _said(props: _Props) -> Mapping[str, Any]:
    said: Mapping[str, Any] = props["meta"].get("dataforge", {})
    return said


def _cut(props: _Props) -> str | None:
    kind: str | None = _said(props).get("partitioning", {}).get("kind")
    return kind


def _sentence(test: _Props) -> str | None:
    """What a generic test says of its column; None for a test of any other kind."""
    kind, column = test.get("test_metadata", {}).get("name"), test.get("column_name")
    arguments = test.get("test_metadata", {}).get("kwargs", {})
    said = {
        "unique": f"No two rows have the same {column}.",
        "not_null": f"Every row has {column}.",
        "accepted_values": f"{column} is one of {', '.join(map(str, arguments.get('values', [])))}.",
        "relationships": f"Every {column} is a {arguments.get('field')} of {arguments.get('to')}.",
    }
    return said.get(kind)
