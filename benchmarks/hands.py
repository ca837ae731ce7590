"""Hands: what a wave of three hundred EMR steps costs beside the work itself, over HTTP against moto's server.

The cluster ends a step as soon as it is seen, so what is measured is the asking: verdicts, claims, steps, ends.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from logging import getLogger
from uuid import uuid4

from dagster import AssetSpec, DailyPartitionsDefinition

from benchmarks.emr_cluster import REGION, Cluster, aws
from benchmarks.figure import Bench, timed
from benchmarks.ingest import server_version
from benchmarks.scratch import scratch_database
from benchmarks.served import served
from dataforge_assets.hands.admission import Orders
from dataforge_assets.hands.attempt import Attempt, attempts_of
from dataforge_assets.hands.claims import Claims
from dataforge_assets.hands.emr import EmrSteps
from dataforge_assets.hands.wave import Pace, carry
from resources import LedgerResource
from resources.emr import EmrResource
from resources.model import TaskRef

PARTITIONS, ROUNDS = 300, 5
FACTOR = PARTITIONS / 15_000_000  # of a day's runs
DAYS = DailyPartitionsDefinition("2025-01-01", end_date="2026-01-01")
SCORE = TaskRef("emr", "score")
CUT = {"kind": "daily", "start": "2025-01-01", "end": "2026-01-01"}


def main() -> None:
    """Measures how long the claims of a wave take, and the whole of one, each time of a task of its own."""
    with scratch_database({}) as database, served(database.url) as api, aws():
        bench, admitted, carried = Bench("hands", server_version(database)), [], []
        keys = DAYS.get_partition_keys()[:PARTITIONS]
        with LedgerResource(url=api.root) as ledger:
            for number in range(ROUNDS):
                claims = _claims(ledger, f"claimed-{number}")
                admitted.append(timed(partial(_all_go, claims, keys)))
            for number in range(ROUNDS):
                claims = _claims(ledger, f"carried-{number}")
                carried.append(timed(partial(_carry, claims, keys)))
        bench.times(f"hands.admit.{PARTITIONS}", admitted, factor=FACTOR)
        bench.times(f"hands.wave.{PARTITIONS}", carried, factor=FACTOR)


def _claims(ledger: LedgerResource, name: str) -> Claims:
    task = TaskRef("emr", name)
    ledger.declare(name, {"tasks": [{"namespace": task.namespace, "name": task.name, "partitioning": CUT}]})
    return Claims(Orders(ledger, task, None, str(uuid4()), datetime.now(UTC), {}), None)


def _all_go(claims: Claims, keys: Sequence[str]) -> None:
    if set(claims.admit(keys, len(keys)).values()) != {"go"}:
        raise AssertionError("each of them may run")


def _carry(claims: Claims, keys: Sequence[str]) -> None:
    cluster = Cluster()
    try:
        emr = EmrResource(cluster=cluster.id, region=REGION)
        attempts = attempts_of(AssetSpec("score", partitions_def=DAYS), SCORE)
        hand = EmrSteps(claims, emr, SCORE, attempts, _command, getLogger(__name__))
        ends = dict(carry(hand, keys, Pace(at_once=PARTITIONS, poll_seconds=0.1), getLogger(__name__).warning))
    finally:
        cluster.close()
    if len(ends) != len(keys) or not all(end.good for end in ends.values()):
        raise AssertionError("each of them is made")


def _command(attempt: Attempt) -> list[str]:
    return ["spark-submit", "s3://code/score.py", attempt.partition]
