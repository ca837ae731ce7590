"""The whole comparison: random DAGs of one seed through Airflow and through the ledger, and the score."""

import tempfile
from pathlib import Path

from benchmarks.airflow_truth import generate, scheduler
from benchmarks.airflow_truth.replay import pairs
from benchmarks.airflow_truth.score import Score, score
from dataforge.storage.database import Database


def compare(database: Database, environment: str, seed: int, numbers: range) -> Score:
    """The score of the DAGs with these numbers, in an environment of that name, which is made for it."""
    with database.transaction() as connection:
        connection.execute("insert into environment (name) values (%s) on conflict do nothing", [environment])
    dags = [generate.dag(seed, number) for number in numbers]
    with tempfile.TemporaryDirectory(prefix="dataforge-airflow-") as folder:
        traces = scheduler.traces(dags, seed, Path(folder))
    steps = sum(len(trace.steps) for trace in traces)
    return score(dags, steps, pairs(database, environment, dags, traces))
