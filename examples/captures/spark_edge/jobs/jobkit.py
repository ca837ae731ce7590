"""What the jobs share: the start of Spark, and a record of what each step really did.

The record is written by the job itself to $STEPS_FILE (JSON lines), independently of OpenLineage.
"""
import json
import os
from contextlib import contextmanager
from datetime import datetime, timezone

from pyspark.sql import SparkSession


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _put(row):
    with open(os.environ["STEPS_FILE"], "a") as f:
        f.write(json.dumps(row) + "\n")


def spark_session(name, **conf):
    b = SparkSession.builder.appName(name)
    for k, v in conf.items():
        b = b.config(k, v)
    spark = b.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    _put({"kind": "app", "app_name": name, "spark_app_id": spark.sparkContext.applicationId,
          "spark_version": spark.version, "at": now()})
    return spark


@contextmanager
def step(name, reads=(), writes=(), **extra):
    """reads/writes: (dataset, [partition, ...]) pairs; a dataset with [] is unpartitioned or read whole."""
    row = {"kind": "step", "step": name, "reads": [[d, list(p)] for d, p in reads],
           "writes": [[d, list(p)] for d, p in writes], "start": now(), **extra}
    row["seq_start"] = True
    _put({"kind": "begin", "step": name, "start": row["start"], "reads": row["reads"], "writes": row["writes"]})
    try:
        yield row
        row["outcome"] = "succeeded"
    except BaseException as e:
        row["outcome"] = "failed"
        row["error"] = type(e).__name__
        row["writes"] = []
        raise
    finally:
        row["end"] = now()
        row.pop("seq_start", None)
        _put(row)
