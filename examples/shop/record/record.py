"""Runs the shop's fortnight on a real Airflow and a real Spark, and keeps what they report and leave in the lake.

`python record.py WORK --database URL --airflow VENV --spark VENV --jars FOLDER`: see README.md. Beside the two it
starts what they need: an S3 server, and an HTTP server that takes OpenLineage events as they come. What goes wrong
in the story goes wrong because of its files alone; besides, one DAG run is cleared, as people do.
"""

import argparse
import gzip
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import boto3
import exports
import psycopg
from moto.server import ThreadedMotoServer

SHOP = Path(__file__).parents[1]
EVENTS, S3 = 5061, 5062  # loopback ports
BUCKET = "shop-lake"
BROKEN, CLEARED_AFTER = date(2026, 11, 10), date(2026, 11, 12)
States = dict[tuple[str, str], str]


def main() -> None:
    """Makes WORK, which must not exist: `events.jsonl`, `lake/`, `before/`, and the logs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    for name in ("--database", "--airflow", "--spark", "--jars"):
        parser.add_argument(name, required=True)
    given = parser.parse_args()
    work = Path(given.work).resolve()
    exports.write(work / "exports")
    environment = _environment(given, work)
    with _s3() as lake:
        _put_customers(lake, whole=True)
        _airflow(environment, work, "db", "migrate")
        scheduler = _start(environment, work, "scheduler")
        try:
            with psycopg.connect(given.database, autocommit=True) as connection, _receiver(work / "events.jsonl"):
                _story(connection, lake, work, lambda *command: _airflow(environment, work, *command))
                time.sleep(10)  # the scheduler sends the last events from a process of its own
            _copy(lake, work / "lake", "")
        finally:
            exports.come(work / "exports")  # no more is recorded, and what still waits comes to its end
            scheduler.terminate()
            scheduler.wait()


def _environment(given: argparse.Namespace, work: Path) -> dict[str, str]:
    settings = {
        "CORE__DAGS_FOLDER": SHOP / "airflow" / "dags",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": 2,
        "CORE__LOAD_EXAMPLES": False,
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "CORE__HOSTNAME_CALLABLE": "platform.machine",
        "DATABASE__SQL_ALCHEMY_CONN": given.database.replace("postgresql://", "postgresql+psycopg2://", 1),
        "OPENLINEAGE__NAMESPACE": "shop-airflow",
        "OPENLINEAGE__TRANSPORT": f'{{"type": "http", "url": "http://127.0.0.1:{EVENTS}"}}',
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.5,
    }
    return {
        **os.environ,
        **{f"AIRFLOW__{name}": str(value) for name, value in settings.items()},
        "AIRFLOW_HOME": str(work / "airflow"),
        "PATH": f"{given.airflow}/bin:{given.spark}/bin:{os.environ['PATH']}",
        "PYSPARK_PYTHON": f"{given.spark}/bin/python",
        "SHOP_EXPORTS": str(work / "exports"),
        "SHOP_SPARK": str(SHOP / "spark"),
        "SPARK_CONF_DIR": str(_spark_defaults(Path(given.jars).resolve(), work)),
        "SPARK_LOCAL_HOSTNAME": "localhost",
        "SPARK_USER": "hadoop",
        "HADOOP_USER_NAME": "hadoop",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{S3}",
        "AWS_ACCESS_KEY_ID": "shop",
        "AWS_SECRET_ACCESS_KEY": "shop",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def _spark_defaults(jars: Path, work: Path) -> Path:
    """The folder of a spark-defaults.conf that switches the listener on and calls the local server `s3`."""
    folder = work / "spark-conf"
    folder.mkdir()
    settings = {
        "spark.master": "local[2]",
        "spark.driver.extraClassPath": f"{jars}/*",
        "spark.sql.shuffle.partitions": 2,
        "spark.ui.enabled": "false",
        "spark.extraListeners": "io.openlineage.spark.agent.OpenLineageSparkListener",
        "spark.openlineage.namespace": "shop-spark",
        "spark.openlineage.transport.type": "http",
        "spark.openlineage.transport.url": f"http://127.0.0.1:{EVENTS}",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": f"http://127.0.0.1:{S3}",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.change.detection.mode": "none",
    }
    lines = [f"{name} {value}\n" for name, value in settings.items()]
    (folder / "spark-defaults.conf").write_text("".join(lines), encoding="utf-8")
    return folder


@contextmanager
def _receiver(file: Path) -> Iterator[None]:
    """Writes down each event that is posted, one a line, in the order in which they come."""
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            with lock, file.open("ab") as out:
                out.write(body.replace(b"\n", b" ") + b"\n")
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", EVENTS), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _s3() -> Iterator[Any]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=S3, verbose=False)
    server.start()
    try:
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{S3}",
            aws_access_key_id="shop",
            aws_secret_access_key="shop",  # noqa: S106 - the local server asks for one and takes any
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=BUCKET)
        yield client
    finally:
        server.stop()


def _start(environment: dict[str, str], work: Path, *command: str) -> subprocess.Popen[bytes]:
    with (work / f"{command[0]}.log").open("ab") as log:
        return subprocess.Popen(["airflow", *command], env=environment, cwd=work, stdout=log, stderr=log)  # noqa: S607


def _airflow(environment: dict[str, str], work: Path, *command: str) -> None:
    if code := _start(environment, work, *command).wait():
        sys.exit(f"airflow {' '.join(command)} ended with {code}: see {work}/{command[0]}.log")


def _story(connection: psycopg.Connection, lake: Any, work: Path, airflow: Callable[..., None]) -> None:
    """Does what people and other systems do meanwhile, and returns when nothing more will happen by itself."""
    last = exports.days()[-1]
    eve = exports.days()[exports.days().index(BROKEN) - 1]
    _wait(connection, {(str(eve), "enrich_orders"): "success"})
    _put_customers(lake, whole=False)
    _wait(connection, {(str(BROKEN), "enrich_orders"): "up_for_retry"})
    _put_customers(lake, whole=True)
    done = {(str(CLEARED_AFTER), "enrich_orders"): "success", (str(CLEARED_AFTER), "load_payments"): "failed"}
    _wait(connection, done)
    _copy(lake, work / "before", f"orders_enriched/ds={exports.CORRECTED}/")
    exports.correct(work / "exports")
    again, only = str(exports.CORRECTED), "^(load_orders|enrich_orders)$"
    airflow("tasks", "clear", "shop_daily", "-t", only, "-s", again, "-e", again, "-y")
    _wait(connection, {(again, "enrich_orders"): "success", (str(last), "enrich_orders"): "success"})
    _wait(connection, {(str(last), "load_payments"): "running"})


_STATES = "select substr(run_id, 12, 10), task_id, coalesce(state, '') from task_instance"


def _wait(connection: psycopg.Connection, wanted: States) -> None:
    """Until the tasks are in these states, by day and task."""
    while not wanted.items() <= {(day, task): state for day, task, state in connection.execute(_STATES)}.items():
        time.sleep(0.2)
    sys.stdout.write(f"{time.strftime('%X')} {wanted}\n")
    sys.stdout.flush()


def _put_customers(lake: Any, *, whole: bool) -> None:
    lake.put_object(Bucket=BUCKET, Key="customers/customers.csv", Body=exports.customers_csv(whole=whole).encode())


def _copy(lake: Any, folder: Path, prefix: str) -> None:
    for page in lake.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
        for entry in page.get("Contents", []):
            if entry["Size"]:
                target = folder / entry["Key"]
                target.parent.mkdir(parents=True, exist_ok=True)
                lake.download_file(BUCKET, entry["Key"], str(target))


if __name__ == "__main__":
    main()
