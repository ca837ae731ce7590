"""What Airflow loads into the lake every day (the DAG shop_daily). It runs there; Dagster shows what became of it."""

from dagster import AssetSpec

from dataforge_assets.partitions import DAILY
from resources.identity import ledger_metadata

NAMESPACE = "shop-airflow"
LAKE = "s3://shop-lake"


def _loaded(name: str, domain: str, description: str) -> AssetSpec:
    return AssetSpec(
        ["lake", name],
        description=description,
        group_name="ingestion",
        owners=["team-ingest@shop.example"],
        kinds={"airflow", "s3"},
        tags={"domain": domain},
        partitions_def=DAILY,
        metadata=ledger_metadata(task=(NAMESPACE, f"shop_daily.load_{name}"), dataset=(LAKE, name)),
    )


AIRFLOW_ASSETS = [
    _loaded("orders", "sales", "The day's orders, as the shop's checkout wrote them."),
    _loaded("payments", "payments", "The day's payments, as the payment provider reports them."),
]
