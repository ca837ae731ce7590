"""The captured history of real platforms gives the state that those platforms themselves recorded."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from benchmarks.truth import airflow, dbt, spark
from benchmarks.truth.score import Score
from dataforge.ingest.batch import record_any
from dataforge.ingest.dbt_manifest import from_dbt
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger import catalog
from dataforge.ledger.declare import declare
from dataforge.ledger.verify import digest
from dataforge.model.filter import RunFilter
from dataforge.storage.database import Database

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"
DBT_EDGE = tuple(str(path.relative_to(CAPTURES)) for path in sorted(CAPTURES.glob("dbt_edge/*/events.jsonl")))
SHUFFLES = 200


def events(*names: str) -> list[object]:
    """The events of captures, lines or arrays."""
    found: list[object] = []
    for name in names:
        body = (CAPTURES / name).read_bytes()
        found += json.loads(body) if name.endswith(".json") else body.splitlines()
    return found


def record(database: Database, bodies: Sequence[object], environment: str = "dev") -> None:
    result = record_any(database, environment, bodies, NOTHING)
    assert result.rejected == []


def holds(score: Score) -> bool:
    assert score.failures == []
    return score.held == len(score.checks)


def test_airflow_is_as_in_its_own_tables(database: Database) -> None:
    record(database, events("airflow/events.jsonl"))
    assert holds(airflow.score(database, "dev", CAPTURES / "airflow"))


def test_airflow_is_as_in_its_own_tables_but_for_what_no_event_tells(database: Database) -> None:
    record(database, events("airflow_edge/events.jsonl"))
    score = airflow.score(database, "dev", CAPTURES / "airflow_edge", airflow.UNTOLD)
    assert score.failures == []
    assert {check.name for check in score.checks if not check.holds} == airflow.UNTOLD


def test_dbt_has_every_model_and_test_once_with_its_result(database: Database) -> None:
    manifest = json.loads((CAPTURES / "dbt" / "manifest.json").read_bytes())
    declare(database, "dev", from_dbt(manifest, "prod-dbt", "duckdb://shop.duckdb"))
    record(database, events("dbt/events.jsonl"))
    assert holds(dbt.score(database, "dev", CAPTURES / "dbt", "prod-dbt"))


def test_dbt_is_the_same_in_both_naming_modes(database: Database) -> None:
    modes = ("dbt_http/dbt_duckdb_build_artifact_mode.json", "dbt_http/dbt_duckdb_build_structured_logs.json")
    record(database, events(*modes))
    assert holds(dbt.score_modes(database, "dev", "dbt-ns"))


def test_dbt_has_every_node_once_whatever_its_kind_its_name_and_its_end(database: Database) -> None:
    edge = CAPTURES / "dbt_edge"
    declare(database, "dev", from_dbt((edge / "manifest.json").read_bytes(), "prod-dbt", "duckdb://test.duckdb"))
    record(database, events(*DBT_EDGE))
    assert holds(dbt.score_edge(database, "dev", edge, "prod-dbt"))


@pytest.mark.parametrize("capture", ["spark", "spark_edge"])
def test_spark_alone_makes_nothing_falsely_ready(database: Database, capture: str) -> None:
    record(database, events(f"{capture}/events.jsonl"))
    assert holds(spark.score_events_alone(database, "dev", CAPTURES / capture))


@pytest.mark.parametrize("parents_first", [True, False])
def test_spark_with_its_parents_outcomes_is_as_it_happened(database: Database, parents_first: bool) -> None:
    outcomes = spark.parents_outcomes(CAPTURES / "spark", "airflow-prod")
    parts: list[Sequence[object]] = [outcomes, events("spark/events.jsonl")]
    for part in parts if parents_first else reversed(parts):
        record(database, part)
    assert holds(spark.score_with_parents(database, "dev", CAPTURES / "spark"))


_HISTORIES = {
    "airflow": ("airflow/events.jsonl",),
    "airflow_edge": ("airflow_edge/events.jsonl",),
    "dbt": ("dbt/events.jsonl", "dbt_http/dbt_duckdb_build_structured_logs.json"),
    "dbt_edge": DBT_EDGE,
    "spark": ("spark/events.jsonl",),
    "spark_edge": ("spark_edge/events.jsonl",),
}
_QUICK = {"airflow": SHUFFLES, "airflow_edge": 12, "dbt": 20, "dbt_edge": 12, "spark": 10, "spark_edge": 8}


@pytest.mark.parametrize(
    ("names", "shuffles"),
    [
        *(pytest.param(names, _QUICK[name], id=name) for name, names in _HISTORIES.items()),
        *(pytest.param(names, 200, id=f"{name}-200", marks=pytest.mark.long) for name, names in _HISTORIES.items()),
    ],
)
def test_any_order_repeats_and_batches_give_the_same_digest(
    database: Database, names: tuple[str, ...], shuffles: int
) -> None:
    bodies = events(*names)
    if names[0].startswith("spark"):
        bodies += spark.parents_outcomes((CAPTURES / names[0]).parent, "airflow-prod")
    record(database, bodies)
    expected = digest(database, "dev")
    for seed in range(shuffles):
        environment = f"shuffle-{seed}"
        with database.transaction() as connection:
            connection.execute("insert into environment (name) values (%s)", [environment])
        _record_shuffled(database, environment, bodies, Random(seed))
        assert digest(database, environment) == expected, f"seed {seed}"


def _record_shuffled(database: Database, environment: str, bodies: list[object], random: Random) -> None:
    shuffled = [*bodies, *random.choices(bodies, k=len(bodies) // 5)]
    random.shuffle(shuffled)
    while shuffled:
        size = random.choice([1, 2, 5, 20, 100, len(shuffled)])
        record(database, shuffled[:size], environment)
        shuffled = shuffled[size:]


def test_a_job_that_never_ended_names_weak_inputs_and_no_partition(database: Database) -> None:
    record(database, events("spark/events.jsonl"))
    page = catalog.runs(database, "dev", RunFilter(platform="spark", limit=1_000))
    shown = {item.name: item for item in page.items}
    weak = {item.name for item in shown["looks_only"].inputs if item.evidence == "inferred"}
    assert weak == {"/data/lake/dim/products"}
    # Spark looked at the first day's file for the schema; the job read the second day's.
    assert [item.partition for item in shown["orders_enriched"].inputs if item.name.endswith("sales_daily")] == [None]
