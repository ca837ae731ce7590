"""The shop's nightly load: orders and payments come into the lake, and Spark joins the customers to the orders.

What the sources export, and where the lake and Spark are, the environment says: SHOP_EXPORTS, SHOP_SPARK, the S3
client's own AWS_* variables, and spark-defaults.conf with the OpenLineage listener.
"""

import csv
import os
import time
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

from airflow import DAG
from airflow.datasets import Dataset
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator

ORDERS = Dataset("s3://shop-lake/orders")
PAYMENTS = Dataset("s3://shop-lake/payments")
ORDERS_ENRICHED = Dataset("s3://shop-lake/orders_enriched")
# What tells Spark's listener whose work the application does: the task's try, and the DAG run above it.
PARENT = {
    "parentJobNamespace": "lineage_job_namespace()",
    "parentJobName": "lineage_job_name(task_instance)",
    "parentRunId": "lineage_run_id(task_instance)",
    "rootParentJobNamespace": "lineage_root_job_namespace(task_instance)",
    "rootParentJobName": "lineage_root_job_name(task_instance)",
    "rootParentRunId": "lineage_root_run_id(task_instance)",
}
CONF = " ".join(
    f"--conf spark.openlineage.{name}={{{{ macros.OpenLineageProviderPlugin.{macro} }}}}"
    for name, macro in PARENT.items()
)


def load(source: str, ds: str) -> None:
    """Copies what a source exported of one day into the lake, unless a row of it is no good."""
    import boto3

    export = Path(os.environ["SHOP_EXPORTS"]) / f"{source}-{ds}.csv"
    while not export.exists():  # without an end: the provider is late at times, and nobody minded so far
        time.sleep(1)
    check(export)
    boto3.client("s3").upload_file(str(export), "shop-lake", f"{source}/ds={ds}/{source}.csv")


def check(export: Path) -> None:
    """Raises ValueError at the first row whose amount is no number."""
    with export.open(encoding="utf-8", newline="") as lines:
        for place, row in enumerate(csv.DictReader(lines), start=2):
            try:
                Decimal(row["amount"])
            except (InvalidOperation, TypeError):
                raise ValueError(f"{export.name}, line {place}: the amount is {row['amount']!r}") from None


with DAG(
    "shop_daily",
    description="Orders and payments of a day, and the orders with their customers",
    schedule="@daily",
    start_date=datetime(2026, 11, 2),  # noqa: DTZ001 - Airflow reads it in its own time zone, UTC
    end_date=datetime(2026, 11, 15),  # noqa: DTZ001
    catchup=True,
    max_active_runs=1,
    default_args={"owner": "team-ingest@shop.example", "retries": 2, "retry_delay": timedelta(seconds=10)},
):
    load_orders = PythonOperator(task_id="load_orders", python_callable=load, op_args=["orders"], outlets=[ORDERS])
    load_payments = PythonOperator(
        task_id="load_payments", python_callable=load, op_args=["payments"], outlets=[PAYMENTS]
    )
    enrich_orders = BashOperator(
        task_id="enrich_orders",
        owner="team-data@shop.example",
        bash_command=f"spark-submit {CONF} $SHOP_SPARK/enrich_orders.py {{{{ ds }}}}",
        inlets=[ORDERS],
        outlets=[ORDERS_ENRICHED],
    )
    load_orders >> enrich_orders
