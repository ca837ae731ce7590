"""A checkpoint stands for every event up to its cut, whoever records meanwhile; one that was touched is not used."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from benchmarks import workload
from dataforge.cli.example import load
from dataforge.ingest import rebuild
from dataforge.ingest.batch import record_native, record_openlineage
from dataforge.ingest.redaction import NOTHING
from dataforge.ingest.replay import Made, checkpoint, replay, verify
from dataforge.ledger.checkpoint import Checkpoint, Refused, Shelf
from dataforge.ledger.declare import declare
from dataforge.ledger.verify import digest
from dataforge.model import definition
from dataforge.model.errors import Conflict, StartupError
from dataforge.storage.database import Database
from dataforge.storage.signing_key import SigningKey, public_pem, signing_key, trusted_key

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"
NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "checkpoints", "dev", signing_key(tmp_path / "keys").public)


def make(database: Database, shelf: Shelf) -> Checkpoint:
    made = checkpoint(database, "dev", shelf, signing_key(shelf.folder.parent / "keys"), NOW)
    assert made.checkpoint is not None, made.verified.found
    return made.checkpoint


@pytest.mark.parametrize("capture", ["airflow", "dbt", "spark"])
def test_the_state_is_the_same_from_a_checkpoint_in_the_middle(database: Database, shelf: Shelf, capture: str) -> None:
    bodies = (CAPTURES / capture / "events.jsonl").read_bytes().splitlines()
    half = len(bodies) // 2
    record_openlineage(database, "dev", bodies[1::2], NOTHING)
    made = make(database, shelf)
    record_openlineage(database, "dev", bodies[0::2], NOTHING)
    found = verify(database, "dev", shelf=shelf)
    assert (found.found.first, found.checkpoint, found.covered) == ((), made.folder.name, half)
    assert found.events == len(bodies) - half
    assert verify(database, "dev").found.agrees


def test_definitions_that_changed_since_are_those_of_now(database: Database, shelf: Shelf) -> None:
    load(database.url, "dev")
    make(database, shelf)
    cut = {"kind": "weekly", "start": "2026-01-01"}
    task = {"namespace": "shop-airflow", "name": "shop_daily.load_orders", "partitioning": cut}
    declare(database, "dev", definition.parse({"source": "shop", "tasks": [task]}))
    found = verify(database, "dev", shelf=shelf)
    assert (found.found.first, found.events) == ((), 0)


def test_a_replay_from_a_checkpoint_mends_what_came_before_it(database: Database, shelf: Shelf) -> None:
    load(database.url, "dev")
    right = digest(database, "dev")
    make(database, shelf)
    with database.transaction() as connection:
        connection.execute("delete from partition_state")
        connection.execute("update attempt set said_state = 'failed', ended_at = null")
    assert replay(database, "dev", shelf=shelf).found.counts.keys() == {"attempt", "partition_state"}
    assert digest(database, "dev") == right
    assert verify(database, "dev").found.agrees


def test_the_digest_is_the_hash_of_the_state_that_is_kept(database: Database, shelf: Shelf) -> None:
    load(database.url, "dev")
    made = make(database, shelf)
    with (made.folder / "state.zst").open("rb") as file:
        content = zstandard.ZstdDecompressor().stream_reader(file).read()
    assert sha256(content).hexdigest() == made.manifest.digest == digest(database, "dev")


def test_the_same_state_is_kept_once_and_each_checkpoint_names_the_one_before(database: Database, shelf: Shelf) -> None:
    events = workload.native(40)
    record_native(database, "dev", events[:20], NOTHING)
    first = make(database, shelf)
    assert make(database, shelf) == first
    record_native(database, "dev", events[20:], NOTHING)
    second = make(database, shelf)
    assert second.manifest.previous == sha256((first.folder / "manifest.json").read_bytes()).hexdigest()
    assert [each.folder for each in shelf.all() if isinstance(each, Checkpoint)] == [second.folder, first.folder]
    assert second.manifest.events == 40


def test_a_wrong_state_is_never_kept(database: Database, shelf: Shelf) -> None:
    record_native(database, "dev", workload.native(20), NOTHING)
    with database.transaction() as connection:
        connection.execute("update partition_state set version = 'x'")
    made: Made = checkpoint(database, "dev", shelf, signing_key(shelf.folder.parent / "keys"), NOW)
    assert made.checkpoint is None
    assert made.verified.found.counts.keys() == {"partition_state"}
    assert list(shelf.all()) == []


def test_what_a_killed_process_was_making_is_no_checkpoint_and_is_removed(database: Database, shelf: Shelf) -> None:
    record_native(database, "dev", workload.native(5), NOTHING)
    left = shelf.folder / "dev" / f".making-{2**30}"  # more processes than any system numbers
    left.mkdir(parents=True)
    (left / "manifest.json").write_text("{}")
    assert list(shelf.all()) == []
    made = make(database, shelf)
    assert [path.name for path in (shelf.folder / "dev").iterdir()] == [made.folder.name]


events = st.lists(
    st.fixed_dictionaries(
        {
            "time": st.integers(0, 59).map(lambda minute: f"2026-11-01T00:{minute:02}:00Z"),
            "task": st.sampled_from(["load", "clean"]).map(lambda name: {"namespace": "ns", "name": name}),
            "run": st.sampled_from(["r1", "r2"]),
            "attempt": st.integers(1, 2),
            "partition": st.sampled_from(["2026-11-01", "2026-11-02"]),
            "state": st.sampled_from(["running", "succeeded", "failed", "skipped", "up_for_retry"]),
        },
        optional={"outputs": st.just([{"namespace": "s3://lake", "name": "orders"}])},
    ),
    min_size=2,
    max_size=12,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events, st.data())
def test_wherever_the_cut_is_the_state_is_that_of_all_events(
    database: Database, shelf: Shelf, said: list[dict[str, Any]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(said)))
    shuffled = data.draw(st.permutations(said))
    named = [f"cut-{uuid4().hex[:8]}", f"whole-{uuid4().hex[:8]}"]
    with database.transaction() as connection:
        connection.cursor().executemany("insert into environment (name) values (%s)", [(name,) for name in named])
    record_native(database, named[0], said[:cut], NOTHING)
    here = Shelf(shelf.folder, named[0], shelf.trusted)
    made = checkpoint(database, named[0], here, signing_key(shelf.folder.parent / "keys"), NOW)
    assert made.checkpoint is not None
    record_native(database, named[0], [*said[cut:], *said[:1]], NOTHING)
    record_native(database, named[1], shuffled, NOTHING)
    found = verify(database, named[0], shelf=here)
    assert (found.found.first, found.checkpoint) == ((), made.checkpoint.folder.name)
    assert digest(database, named[0]) == digest(database, named[1])


def test_an_empty_environment_has_nothing_to_keep(database: Database, shelf: Shelf) -> None:
    with pytest.raises(Conflict, match="nothing was recorded in dev yet"):
        make(database, shelf)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "state.zst", "attempt.zst", "progress.zst"])
def test_a_checkpoint_of_which_a_byte_was_changed_is_refused_by_name(
    database: Database, shelf: Shelf, name: str
) -> None:
    events = workload.native(40)
    record_native(database, "dev", events[:20], NOTHING)
    good = make(database, shelf)
    record_native(database, "dev", events[20:], NOTHING)
    bad = make(database, shelf)
    content = bytearray((bad.folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bad.folder / name).write_bytes(content)
    found = verify(database, "dev", shelf=shelf)
    assert found.found.agrees
    assert (found.checkpoint, found.events) == (good.folder.name, 20)
    assert [each.name for each in found.refused] == [bad.folder.name]
    with pytest.raises(Conflict, match=bad.folder.name) if "json" not in name else pytest.raises(Conflict):
        make(database, shelf)


def test_a_checkpoint_of_another_key_or_environment_or_database_is_refused(
    database: Database, shelf: Shelf, tmp_path: Path
) -> None:
    record_native(database, "dev", workload.native(20), NOTHING)
    made = make(database, shelf)
    stranger = Shelf(shelf.folder, "dev", signing_key(tmp_path / "other").public)
    (refused,) = stranger.all()
    assert isinstance(refused, Refused)
    shutil.copytree(made.folder, shelf.folder / "staging" / made.folder.name)
    (moved,) = Shelf(shelf.folder, "staging", shelf.trusted).all()
    assert moved == Refused(made.folder.name, "it is one of dev")
    with database.transaction() as connection:
        connection.execute("delete from event where number = (select max(number) from event)")
    assert [each.reason for each in verify(database, "dev", shelf=shelf).refused] == [
        "its last event is not in this database under its number"
    ]


def test_a_checkpoint_is_exact_while_others_record(
    database: Database, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "PAGE", 30)
    events = workload.native(600)
    batches = [events[begin : begin + 10] for begin in range(0, len(events), 10)]
    record_native(database, "dev", batches.pop(), NOTHING)
    with ThreadPoolExecutor(3) as writers:
        recording = [writers.submit(record_native, database, "dev", batch, NOTHING) for batch in batches]
        made = [make(database, shelf) for _ in range(3)]
        assert sum(each.result().applied for each in recording) == 590
    with database.transaction() as connection:
        for each in made:
            row = connection.execute(
                "select count(*) from event where number <= %s", [each.manifest.last.number]
            ).fetchone()
            assert row == (each.manifest.events,)
    assert verify(database, "dev", shelf=shelf).found.agrees
    assert verify(database, "dev").found.agrees


def test_openssl_checks_the_signature(database: Database, shelf: Shelf, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl on this machine")
    record_native(database, "dev", workload.native(5), NOTHING)
    made = make(database, shelf)
    key = tmp_path / "public.pem"
    key.write_text(public_pem(signing_key(tmp_path / "keys").public))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(key), "-rawin", "-in", "manifest.json"]
    done = subprocess.run([*command, "-sigfile", "manifest.sig"], cwd=made.folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as starters:
        keys = set(starters.map(lambda _: signing_key(tmp_path / "keys").public, range(8)))
    assert len(keys) == 1
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {
        "checkpoint.pem": 0o600,
        "checkpoint.pub.pem": 0o644,
    }


def test_a_folder_with_another_public_key_checks_and_never_signs(tmp_path: Path) -> None:
    owner, checker = tmp_path / "owner", tmp_path / "checker"
    public = signing_key(owner).public
    checker.mkdir()
    shutil.copy(owner / "checkpoint.pub.pem", checker)
    assert trusted_key(checker) == public
    with pytest.raises(StartupError, match="the public key of another installation"):
        signing_key(checker)
    signing_key(tmp_path / "third")
    shutil.copy(tmp_path / "third" / "checkpoint.pub.pem", owner)
    with pytest.raises(StartupError, match="is not the public half"):
        signing_key(owner)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    signing_key(tmp_path)
    (tmp_path / "checkpoint.pem").chmod(0o644)
    with pytest.raises(StartupError, match="can be read by others"):
        signing_key(tmp_path)


def test_what_people_marked_and_checks_refused_is_kept(database: Database, shelf: Shelf) -> None:
    about: dict[str, Any] = {"task": {"namespace": "ns", "name": "load"}, "partition": "2026-11-01"}
    orders = {"namespace": "s3://lake", "name": "orders", "partition": "2026-11-01"}
    refused = orders | {"checks": [{"name": "rows", "success": False}]}
    marked = {"control": "mark", "state": "succeeded", "by": "anna", "reason": "r"}
    events = [
        about | {"time": "2026-11-02T01:00:00Z", "state": "succeeded", "outputs": [orders]},
        about | {"time": "2026-11-02T02:00:00Z", "state": "failed", "run": "c", "inputs": [refused]},
        about | {"time": "2026-11-02T03:00:00Z", "partition": "2026-10-31"} | marked,  # nobody else has told of it
    ]
    record_native(database, "dev", [json.dumps(event).encode() for event in events], NOTHING)
    right = digest(database, "dev")
    make(database, shelf)
    found = verify(database, "dev", shelf=shelf)
    assert (found.found.first, found.events) == ((), 0)
    with database.transaction() as connection:
        for statement in ("delete from mark", "delete from failed_check", "delete from partition_state"):
            connection.execute(statement)
    assert replay(database, "dev", shelf=shelf).found.counts.keys() == {"mark", "failed_check", "partition_state"}
    assert digest(database, "dev") == right


def without(made: Checkpoint, name: str, key: SigningKey) -> None:
    """Makes it one of a release that did not have this table yet."""
    kept = tuple(part for part in made.manifest.parts if part.file != f"{name}.zst")
    content = msgspec.json.encode(structs.replace(made.manifest, parts=kept))
    (made.folder / "manifest.json").write_bytes(content)
    (made.folder / "manifest.sig").write_bytes(key.sign(content))
    (made.folder / f"{name}.zst").unlink()


def test_a_checkpoint_from_before_every_order_was_kept_is_started_from(database: Database, shelf: Shelf) -> None:
    about = {"task": {"namespace": "ns", "name": "load"}, "partition": "2026-11-01", "by": "anna", "reason": "r"}
    orders = [about | {"time": f"2026-11-0{day}T00:00:00Z", "control": "quarantine"} for day in (2, 3)]
    run = {"time": "2026-11-01T01:00:00Z", "task": about["task"], "partition": "2026-11-01", "state": "succeeded"}
    record_native(database, "dev", [json.dumps(each).encode() for each in (run, orders[0])], NOTHING)
    without(make(database, shelf), "quarantine_order", signing_key(shelf.folder.parent / "keys"))
    record_native(database, "dev", [json.dumps(orders[1]).encode()], NOTHING)
    found = verify(database, "dev", shelf=shelf)
    assert (found.found.first, found.events) == ((), 1)
