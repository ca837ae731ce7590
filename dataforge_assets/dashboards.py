"""Who reads the warehouse: dbt's exposures, as the last assets of the graph."""

import json
from collections.abc import Mapping
from typing import Any

from dagster import AllPartitionMapping, AssetDep, AssetSpec

from dataforge_assets.dbt_translator import NAMESPACE, ShopTranslator
from resources.dbt import MANIFEST
from resources.identity import ledger_metadata


def _dashboard(manifest: Mapping[str, Any], exposure: Mapping[str, Any]) -> AssetSpec:
    """It shows all days and weeks at once, so it has no partitions of its own."""
    key = ShopTranslator().get_asset_key
    read = [key(manifest["nodes"][unique_id]) for unique_id in exposure["depends_on"]["nodes"]]
    return AssetSpec(
        ["dashboards", exposure["name"]],
        deps=[AssetDep(model, partition_mapping=AllPartitionMapping()) for model in read],
        description=exposure["description"],
        group_name="dashboards",
        owners=[exposure["owner"]["email"]],
        kinds={exposure["type"]},
        tags={"domain": exposure["meta"]["dataforge"]["domain"]},
        metadata=ledger_metadata(task=(NAMESPACE, exposure["unique_id"])),
    )


def _dashboards() -> list[AssetSpec]:
    manifest = json.loads(MANIFEST.read_bytes())
    return [_dashboard(manifest, exposure) for exposure in manifest["exposures"].values()]


DASHBOARD_ASSETS = _dashboards()
