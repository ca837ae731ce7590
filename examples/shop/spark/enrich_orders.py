"""Joins the customers to the orders of one day: `spark-submit enrich_orders.py 2026-11-02`.

Writes one CSV file into the day's directory, whatever was there before.
"""

import sys

from pyspark.sql import SparkSession

LAKE = "s3://shop-lake"
ORDERS = "order_id STRING, customer_id STRING, ordered_at STRING, amount DECIMAL(10, 2), currency STRING"
CUSTOMERS = "customer_id STRING, segment STRING, country STRING"
COLUMNS = ("order_id", "customer_id", "segment", "country", "ordered_at", "amount", "currency")


def main(ds: str) -> None:
    """Fails at a row that has not the columns of its schema, so that nothing is lost on the way."""
    spark = SparkSession.builder.appName("enrich_orders").getOrCreate()
    read = spark.read.option("header", "true").option("mode", "FAILFAST")
    orders = read.schema(ORDERS).csv(f"{LAKE}/orders/ds={ds}")
    customers = read.schema(CUSTOMERS).csv(f"{LAKE}/customers")
    enriched = orders.join(customers, "customer_id", "left").select(*COLUMNS).orderBy("order_id")
    enriched.coalesce(1).write.mode("overwrite").option("header", "true").csv(f"{LAKE}/orders_enriched/ds={ds}")
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1])
