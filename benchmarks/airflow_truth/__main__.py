"""`python -m benchmarks.airflow_truth`: the score of random DAGs, printed; 0 when nothing disagrees."""

import argparse

from benchmarks.airflow_truth import scheduler
from benchmarks.airflow_truth.compare import compare
from benchmarks.airflow_truth.score import merge
from benchmarks.scratch import scratch_database

TOLD = {"everything": "Told each change", "runs": "Told of what ran, as OpenLineage tells it"}
SHARE = 300  # DAGs at once: an environment of the ledger each


def main() -> int:
    """Compares as many DAGs as are asked for."""
    parser = argparse.ArgumentParser(description="Compare verdicts with Airflow's own decisions on random DAGs.")
    parser.add_argument("--dags", type=int, default=SHARE, help="how many")
    parser.add_argument("--seed", type=int, default=2, help="of the DAGs and of the order in which their tasks run")
    asked = parser.parse_args()
    if not scheduler.prepared():
        parser.error("there is no Airflow here: run `make airflow` first")
    with scratch_database() as database:
        scores = [
            compare(database, f"share{first}", asked.seed, range(first, min(first + SHARE, asked.dags)))
            for first in range(0, asked.dags, SHARE)
        ]
    disagreements = []
    for feed in scores[0]:
        whole = merge([each[feed] for each in scores])
        print(f"{TOLD[feed]}: {whole.table()}\n")
        disagreements += whole.disagreements
    for disagreement in disagreements:
        print(disagreement.line())
    return 1 if disagreements else 0


if __name__ == "__main__":
    raise SystemExit(main())
