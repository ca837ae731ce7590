"""`python -m benchmarks.airflow_truth`: the score of random DAGs, printed; 0 when nothing disagrees."""

import argparse
from pathlib import Path

import msgspec

from benchmarks.airflow_truth import scheduler
from benchmarks.airflow_truth.compare import compare, driven
from benchmarks.airflow_truth.replay import Recorded
from benchmarks.airflow_truth.score import merge
from benchmarks.scratch import scratch_database

TOLD = {"everything": "Told each change", "runs": "Told of what ran, as OpenLineage tells it"}
SHARE = 300  # DAGs at once: an environment of the ledger each


def main() -> int:
    """Compares as many DAGs as are asked for."""
    parser = argparse.ArgumentParser(description="Compare verdicts with Airflow's own decisions on random DAGs.")
    parser.add_argument("--dags", type=int, default=SHARE, help="how many")
    parser.add_argument("--seed", type=int, default=2, help="of the DAGs and of the order in which their tasks run")
    parser.add_argument("--record", type=Path, metavar="FILE", help="only write what Airflow decides to this file")
    asked = parser.parse_args()
    if not scheduler.prepared():
        parser.error("there is no Airflow here: run `make airflow` first")
    if asked.record:
        return _record(asked.record, asked.seed, range(asked.dags))
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


def _record(file: Path, seed: int, numbers: range) -> int:
    dags, traces = driven(seed, numbers)
    lines = [msgspec.json.encode(Recorded(dag, trace)) for dag, trace in zip(dags, traces, strict=True)]
    file.write_bytes(b"\n".join(lines) + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
