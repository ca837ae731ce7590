"""What Spark makes of the lake's files. The task of Airflow's that submits the application answers for it."""

from dagster import AssetDep, AssetSpec

from dataforge_assets.airflow import LAKE, NAMESPACE
from dataforge_assets.partitions import DAILY
from resources.identity import ledger_metadata

SPARK_ASSETS = [
    AssetSpec(
        ["lake", "orders_enriched"],
        deps=[AssetDep(["lake", "orders"])],  # the same day
        description="The day's orders with the segment and country of their customer.",
        group_name="enrichment",
        owners=["team-data@shop.example"],
        kinds={"spark", "s3"},
        tags={"domain": "sales"},
        partitions_def=DAILY,
        metadata=ledger_metadata(task=(NAMESPACE, "shop_daily.enrich_orders"), dataset=(LAKE, "orders_enriched")),
    )
]
