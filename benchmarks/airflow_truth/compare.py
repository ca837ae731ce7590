"""The whole comparison: random DAGs of one seed through Airflow and through the ledger, and the score."""

import tempfile
from pathlib import Path

from benchmarks.airflow_truth import generate, scheduler
from benchmarks.airflow_truth.replay import Feed, Trace, pairs
from benchmarks.airflow_truth.score import Score, score
from benchmarks.airflow_truth.spec import Dag
from dataforge.storage.database import Database


def compare(database: Database, environment: str, seed: int, numbers: range) -> dict[Feed, Score]:
    """The scores of the DAGs with these numbers, by what the ledger is told; in environments made for it whose names
    begin with this."""
    dags, traces = driven(seed, numbers)
    feeds: tuple[Feed, ...] = ("everything", "runs")
    return {feed: judged(database, f"{environment}-{feed}", dags, traces, feed) for feed in feeds}


def driven(seed: int, numbers: range) -> tuple[list[Dag], list[Trace]]:
    """The DAGs with these numbers, and what Airflow decided of each."""
    dags = [generate.dag(seed, number) for number in numbers]
    with tempfile.TemporaryDirectory(prefix="dataforge-airflow-") as folder:
        return dags, scheduler.traces(dags, seed, Path(folder))


def judged(database: Database, environment: str, dags: list[Dag], traces: list[Trace], feed: Feed) -> Score:
    """The score of recorded traces, in a new environment of this name."""
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s)", [environment])
    return score(dags, traces, pairs(database, environment, dags, traces, feed), feed)
