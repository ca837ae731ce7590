"""More changes than Dagster can be given: the newest and the watched come first, the rest waits and is not lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from dagster import (
    AssetKey,
    AssetSpec,
    AutomationCondition,
    DagsterInstance,
    Definitions,
    SensorResult,
    asset,
)

from dataforge_sensors import ledger_to_dagster, mirror_batch
from dataforge_sensors.ledger_to_dagster import EVENTS
from dataforge_sensors.mirror_cursor import FEWEST, MOST_GAPS, Gap, MirrorCursor, bounded
from dataforge_sensors.time_budget import TimeBudget
from dataforge_sensors.window import WATCHED, Window
from resources import LedgerResource
from resources.identity import ledger_metadata
from tests.dagster.sensors.mirror_ticks import DAYS, LAKE, ORDERS, PAYMENTS, SHOP, Mirror, event, log, shown, spec

DATES = [(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%d") for day in range(31)]


def watched_shop() -> Definitions:
    """orders is built from by what automation runs, returns is tagged, payments is neither."""

    @asset(deps=[ORDERS], partitions_def=DAYS, automation_condition=AutomationCondition.eager())
    def mart() -> None: ...

    returns = AssetSpec(
        ["lake", "returns"],
        partitions_def=DAYS,
        metadata=ledger_metadata(dataset=(LAKE, "returns")),
        tags={WATCHED: "finance"},
    )
    return Definitions(assets=[spec(ORDERS), spec(PAYMENTS), returns, mart])


@pytest.fixture
def mirror(instance: DagsterInstance, ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """A mirror that has seeded its assets from an empty ledger, and takes five states a tick."""
    mirror = Mirror(instance, ledger)
    mirror.tick()
    monkeypatch.setattr(ledger_to_dagster, "MOST", 5)
    return mirror


def told(mirror: Mirror, name: str, days: Sequence[str], run: str = "r1", minute: int = 1) -> None:
    for day in days:
        mirror.ledger.record([event(name, day, "succeeded", minute, run=f"{day} {run}")])


def days_of(mirror: Mirror, key: AssetKey) -> list[str | None]:
    return [record.partition_key for record in log(mirror.instance, [key])]


def test_the_newest_changes_come_first_and_the_older_ones_with_the_next_ticks(mirror: Mirror) -> None:
    told(mirror, "orders", DATES[:12])
    assert "At least 7 wait" in mirror.tick()
    assert days_of(mirror, ORDERS) == DATES[7:12]
    told(mirror, "orders", DATES[20:22])
    assert "At least 4 wait" in mirror.tick()
    assert days_of(mirror, ORDERS)[5:] == [*DATES[4:7], *DATES[20:22]]
    mirror.tick()
    assert mirror.tick().endswith("None waits.")
    assert sorted(map(str, days_of(mirror, ORDERS))) == [*DATES[:12], *DATES[20:22]]


def test_a_state_that_another_replaces_while_it_waits_is_never_written(mirror: Mirror) -> None:
    told(mirror, "orders", DATES[:8])
    mirror.tick()
    mirror.ledger.record([event("orders", DATES[0], "running", 9, run="again")])
    mirror.ledger.record([event("orders", DATES[0], "failed", 10, run="again")])
    mirror.until_quiet()
    assert [status for _, day, status in shown(log(mirror.instance)) if day == DATES[0]] == ["ready", "failed"]


def test_what_is_watched_comes_first_and_the_rest_is_not_starved(
    instance: DagsterInstance, ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_to_dagster, "MOST", 10)
    mirror = Mirror(instance, ledger, watched_shop())
    mirror.tick()
    for name in ("orders", "returns", "payments"):  # what nobody watches is the newest
        told(mirror, name, DATES[:10])
    mirror.tick()
    returns = AssetKey(["lake", "returns"])
    assert [len(days_of(mirror, key)) for key in (ORDERS, returns, PAYMENTS)] == [0, 8, 2]
    mirror.tick()
    assert [len(days_of(mirror, key)) for key in (ORDERS, returns, PAYMENTS)] == [6, 10, 4]
    mirror.until_quiet()
    assert [len(days_of(mirror, key)) for key in (ORDERS, returns, PAYMENTS)] == [10, 10, 10]


def test_what_is_watched_otherwise_while_it_waits_is_not_lost(mirror: Mirror) -> None:
    for name in ("orders", "payments"):
        told(mirror, name, DATES[:9])
    mirror.tick()
    mirror.definitions = watched_shop()
    mirror.tick()
    mirror.definitions = SHOP
    mirror.until_quiet()
    assert [sorted(map(str, days_of(mirror, key))) for key in (ORDERS, PAYMENTS)] == [DATES[:9], DATES[:9]]


@pytest.mark.parametrize("killed_after", [0, 2, 5])
def test_a_tick_that_is_killed_amid_a_backlog_leaves_each_state_there_once(mirror: Mirror, killed_after: int) -> None:
    told(mirror, "orders", DATES[:8])
    mirror.tick()
    told(mirror, "orders", DATES[10:12])
    mirror.tick(killed_after=killed_after)
    told(mirror, "orders", DATES[12:14])
    mirror.until_quiet()
    assert sorted(map(str, days_of(mirror, ORDERS))) == [*DATES[:8], *DATES[10:14]]


def test_a_tick_without_time_asks_once_about_what_is_new_and_the_rest_waits_for_one_with_time(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as hurried:
        hurried.setattr(ledger_to_dagster, "TimeBudget", lambda: TimeBudget(0))
        hurried.setattr(ledger_to_dagster, "MOST", 1)
        for begin in (0, 3):
            told(mirror, "orders", DATES[begin : begin + 3])
            mirror.tick()
        assert days_of(mirror, ORDERS) == [DATES[2], DATES[5]]
    mirror.until_quiet()
    assert sorted(map(str, days_of(mirror, ORDERS))) == DATES[:6]


def test_a_tick_that_writes_more_than_its_share_leaves_less_to_the_next(
    instance: DagsterInstance, ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_to_dagster, "EVENTS", 8)
    mirror = Mirror(instance, ledger)
    mirror.tick()
    told(mirror, "orders", DATES[:4])
    for day in DATES[:4]:  # each is two states: the success that Dagster has not seen, and the failure
        ledger.record([event("orders", day, "failed", 2, run=f"{day} r2")])
    told(mirror, "payments", DATES[:4])
    written = []
    while True:
        result = mirror.evaluate()
        assert isinstance(result, SensorResult)
        if not result.asset_events:
            break
        written.append(len(result.asset_events))
        mirror.tick()
    assert sum(written) == 12
    assert all(sum(written[:ticks]) <= 8 * ticks for ticks in range(1, len(written) + 1))


def test_the_ledger_knows_how_far_the_mirror_has_come_and_what_waits(mirror: Mirror) -> None:
    began = datetime.now(UTC)
    told(mirror, "orders", DATES[:9])
    mirror.tick()
    mirror.tick()
    [behind] = mirror.ledger.mirrors().items
    assert (behind.name, behind.waiting) == ("ledger_to_dagster", 4)
    assert behind.shown_through < began
    mirror.until_quiet()
    mirror.tick()
    [level] = mirror.ledger.mirrors().items
    assert level.waiting == 0
    assert level.shown_through > began


def gap(begin: int, end: int, *, watched: bool = True) -> Gap:
    return Gap(watched, str(begin), str(end), end - begin, float(begin))


def test_of_too_many_gaps_the_oldest_become_one_with_all_that_lies_between() -> None:
    newest_first = [gap(number, number + 1) for number in range(MOST_GAPS + 3, 0, -1)]
    found = bounded([*newest_first, gap(1, 2, watched=False)])
    assert found[: MOST_GAPS - 1] == tuple(newest_first[: MOST_GAPS - 1])
    assert found[MOST_GAPS - 1] == Gap(True, "1", "5", 4, 1.0)
    assert found[MOST_GAPS:] == (gap(1, 2, watched=False),)


def test_a_cursor_is_small_however_long_the_mirror_is_behind() -> None:
    window = Window.of(watched_shop().get_repository_def())
    cursor = MirrorCursor().having_left("p" * 200, 1.0)
    for number in range(200):
        gaps = [gap(number, number + 1, watched=lane) for lane in (True, False)]
        cursor = cursor.having_left("p" * 200, float(number), [*gaps, *cursor.gaps]).within(window)
    assert len(cursor.gaps) == 2 * MOST_GAPS
    assert cursor.shown_through == 0.0


@pytest.mark.parametrize(
    ("written", "allowed", "seconds", "next_one"),
    [
        (0, 0, 10.0, 1_000),  # the first one
        (1_000, 1_000, 10.0, 1_000),
        (1_200, 1_000, 10.0, 800),  # what was too much is taken off
        (1_000, 1_000, 100.0, 100),  # ten a second
        (100, 100, 12.0, 200),
        (5, 200, 10.0, 400),  # few were needed
        (FEWEST, 1_000, 3_600.0, 1_000),  # the daemon was away
        (1_000, 1_000, 3_600.0, FEWEST),
    ],
)
def test_a_tick_is_as_large_as_dagster_has_shown_to_write_in_its_time(
    written: int, allowed: int, seconds: float, next_one: int
) -> None:
    cursor = MirrorCursor().having_left("p", 1_000.0).having_written(written, allowed)
    assert cursor.allowance(1_000, 1_000.0 + seconds, 10.0) == next_one


def test_a_tick_takes_no_more_than_the_events_it_may_write() -> None:
    assert mirror_batch.MOST * 2 <= EVENTS
