"""Whatever is killed while states go over to Dagster: in the end each of them is there, and there once."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dataforge.local import dagster_database
from dataforge.local.layout import Layout
from dataforge.local.postgres import Server, database_url
from tests.end_to_end.conftest import Shop, eventually
from tests.end_to_end.dagster_api import EVERY_STORAGE, RUNS

pytestmark = pytest.mark.xdist_group("shop")

DAYS = [f"2026-11-{day:02}" for day in range(2, 16)]
BOUND = 5.0  # seconds from PostgreSQL's first answer, after which no page of Dagster may show an error
WATCHED = 30.0  # seconds in which they are looked at
AGAIN = datetime(2026, 11, 20, 6, tzinfo=UTC)  # after all that is recorded


@pytest.mark.parametrize("killed", ["dagster-daemon", "api", "postgres"])
def test_each_state_is_in_dagster_once_after_a_kill(shop: Shop, killed: str) -> None:
    hour = ["dagster-daemon", "api", "postgres"].index(killed)
    answer = shop.ledger.post("/api/v1/dev/events", json=[_loaded(day, hour) for day in DAYS])
    assert answer.json()["applied"] == len(DAYS), answer.json()
    shop.kill(killed)
    if killed == "postgres":
        shop.wait_for_database(60)
        eventually(lambda: shop.dagster.failure() is None, BOUND, "Dagster answers")
        eventually(lambda: shop.ledger.get("/ready").is_success, 60, "the ledger answers")
    for day in DAYS:
        eventually(partial(_is_there, shop, day, f"again-{hour}"), 120, f"{day} is in Dagster")
    shop.kill("dagster-daemon")  # and what a new daemon finds is nothing new
    eventually(lambda: _told_once_more(shop, hour), 240, "a later state comes through")
    for day in DAYS:
        mirrored = Counter(event["dataforge/mirror_id"] for event in shop.dagster.events("lake/orders", day))
        assert set(mirrored.values()) == {1}, (day, mirrored)


def test_no_page_fails_after_postgresql_was_killed_and_is_back(shop: Shop) -> None:
    """Neither soon, nor later by a connection that one of its storages has kept from before and not used since."""
    for _ in range(3):
        assert shop.dagster.failure() is None  # and whatever is kept between two pages is kept now
    shop.kill("postgres")
    shop.wait_for_database(60)
    back = time.monotonic()
    failures = {}
    while (since := time.monotonic() - back) < WATCHED:
        late = since > BOUND
        if failure := shop.dagster.failure(EVERY_STORAGE if late else RUNS):
            failures[since] = failure
        time.sleep(min(2.0, since))  # at once, then every few seconds
    assert not {since: failure for since, failure in failures.items() if since > BOUND}


def test_a_dagster_database_that_is_dropped_is_made_anew_by_up_and_seeded_by_the_mirror(shop: Shop) -> None:
    name = dagster_database.name(database_url(shop.settings))
    with psycopg.connect(Server.of(Layout(shop.settings.home)).superuser_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    told = shop.run("status")
    assert (told.returncode, "`make up` makes it anew" in told.stdout) == (1, True)
    done = shop.run("up")
    assert done.returncode == 0, done.stderr
    assert shop.run("status").returncode == 0
    for day in DAYS:
        eventually(partial(shop.dagster.is_materialized, "lake/orders", day), 120, f"{day} is in Dagster again")
        mirrored = Counter(event["dataforge/mirror_id"] for event in shop.dagster.events("lake/orders", day))
        assert set(mirrored.values()) == {1}, (day, mirrored)

    assert shop.dagster.sensor_status("ledger_ready") == "STOPPED"  # what would take the past for news


def test_status_and_metrics_say_how_far_the_mirror_is(shop: Shop) -> None:
    eventually(lambda: "mirror ledger_to_dagster.shop: " in shop.run("status").stdout, 60, "the mirror has said so")
    assert 'dataforge_mirror_lag_seconds{environment="dev",mirror="ledger_to_dagster.shop"}' in (
        shop.ledger.get("/metrics").text
    )


def test_what_is_old_in_dagsters_log_goes_and_what_its_pages_show_stays(shop: Shop) -> None:
    url = database_url(shop.settings)
    with psycopg.connect(make_conninfo(url, dbname=dagster_database.name(url)), autocommit=True) as connection:
        connection.execute("update event_logs set timestamp = timestamp - interval '40 days'")
    before = {day: shop.dagster.events("lake/orders", day) for day in DAYS}
    told = shop.run("dagster", "prune")
    assert "may go: --apply deletes them." in told.stdout, told.stderr
    done = shop.run("dagster", "prune", "--apply")
    assert (done.returncode, "are deleted." in done.stdout) == (0, True), done.stderr
    assert {day: shop.dagster.events("lake/orders", day)[:1] for day in DAYS} == {
        day: found[:1] for day, found in before.items()
    }
    assert shop.dagster.check("lake/payments", "ledger_state")


def _loaded(day: str, hour: int) -> dict[str, Any]:
    return {
        "time": (AGAIN + timedelta(hours=hour)).isoformat(),
        "task": {"namespace": "shop-airflow", "name": "shop_daily.load_orders"},
        "run": f"again-{hour}-{day}",
        "partition": day,
        "state": "succeeded",
        "outputs": [{"namespace": "s3://shop-lake", "name": "orders"}],
    }


def _is_there(shop: Shop, day: str, run: str) -> bool:
    return any(event.get("dataforge/run", "").startswith(run) for event in shop.dagster.events("lake/orders", day))


def _told_once_more(shop: Shop, hour: int) -> bool:
    day = DAYS[0]
    event = _loaded(day, hour) | {"run": f"last-{hour}", "time": (AGAIN + timedelta(hours=hour, minutes=1)).isoformat()}
    shop.ledger.post("/api/v1/dev/events", json=event).raise_for_status()
    return _is_there(shop, day, f"last-{hour}")
