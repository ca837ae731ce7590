"""The world that benchmarks measure in: the ledger ends as it really stands."""

from datetime import UTC, datetime

from benchmarks.world import World, environments
from benchmarks.world.event import native, said
from benchmarks.world.graph import Cadence
from benchmarks.world.hours import CAME_LATE, statements
from benchmarks.world.truth import truth, wrong
from dataforge.ingest.batch import record_native
from dataforge.ingest.redaction import NOTHING
from dataforge.ledger.declare import declare
from dataforge.model import definition
from dataforge.storage.database import Database

HOURS = range(21, 25)  # the last of a day, so that its daily partitions are due


def _events(world: World) -> list[bytes]:
    return [native(each) for some in statements(world, HOURS) for each in said(world, some)]


def test_the_ledger_ends_as_the_world_really_stands(database: Database) -> None:
    world = World(0.0004, seed=5)
    world.cadence[0] = Cadence.STREAM  # of so few tasks none is one by chance
    assert any((some.state == CAME_LATE).any() for some in statements(world, HOURS))
    for manifest in world.manifests():
        if manifest["tasks"]:
            declare(database, "dev", definition.parse(manifest), now=datetime(2026, 6, 1, tzinfo=UTC))
    events = _events(world)
    for first in range(0, len(events), 700):
        assert not record_native(database, "dev", events[first : first + 700], NOTHING).rejected
    with database.transaction() as connection:
        assert wrong(connection, "dev", truth(world, HOURS)) == []
    with database.transaction() as connection:
        connection.execute("update partition_state set status = 'running', held = null where partition like '%-22:00'")
        assert wrong(connection, "dev", truth(world, HOURS)), "what is wrong is found"


def test_two_readers_of_one_seed_see_the_same_and_of_two_seeds_not() -> None:
    one, same = environments(0.0004), environments(0.0004)
    assert {name: _events(world) for name, world in one.items()} == {n: _events(w) for n, w in same.items()}
    assert _events(one["prod"]) != _events(environments(0.0004, seed=2)["prod"])


def test_no_task_reads_what_is_made_above_it() -> None:
    world = World(0.01)
    for task in range(world.size):
        assert (world.layer[world.reads(task)] < world.layer[task]).all()
