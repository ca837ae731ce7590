"""Manifests of shards: what events said of a run's parts, in compressed chunks.

Guarantees that what is stored follows from the set of facts alone: a key begins a chunk where its own hash says so. A
key that was named once stays, so a chunk is split and never joined to another; only the one before all of these, whose
`first` is '', goes where a key before all others begins a chunk.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import islice, pairwise
from typing import Any

import msgspec
import zstandard
from psycopg import Connection

from dataforge.model.shard import Shard, ShardCounts, ShardState, Tally, merge_all
from dataforge.storage.attempt import RunKey
from dataforge.storage.record_set import Row, keys

MEAN_SHARDS = 2_048  # of a chunk: small enough to rewrite for one shard, large enough that keys compress
MOST_CHUNKS = 64  # that one page unpacks
_LEVEL = 6  # as of event bodies
_LONGEST = 2**26  # bytes of an unpacked chunk
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LETTERS = {ShardState.PENDING: "p", ShardState.SUCCEEDED: "s", ShardState.SKIPPED: "k", ShardState.FAILED: "f"}
_STATES = {letter: state for state, letter in _LETTERS.items()}


class _Columns(msgspec.Struct, frozen=True, array_like=True):
    """The shards of a chunk as they are stored: column by column, since each compresses best beside its like."""

    keys: list[str]
    states: str
    moments: list[int]  # when ends were told, each once: microseconds since 1970
    told: list[int]  # the place of each shard's moment, from 1 on; 0 of a pending one
    rows: list[int | None]


FIRSTS = """
select c.task_id, c.run, c.first
from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
cross join lateral (
    select task_id, run, first from shard_chunk
    where environment = (select %(environment)s::smallint) and task_id = wanted.task_id and run = wanted.run
    order by first offset 0
) c
"""
CONTENTS = """
select c.task_id, c.run, c.first, c.content
from unnest(%(tasks)s::bigint[], %(runs)s::text[], %(firsts)s::text[]) as wanted (task_id, run, first)
cross join lateral (
    select * from shard_chunk
    where environment = (select %(environment)s::smallint) and task_id = wanted.task_id and run = wanted.run
        and first = wanted.first offset 0
) c
"""
# A chunk lies where the first attempt of its run does.
SAVE = """
insert into shard_chunk (environment, task_id, run, first, succeeded, skipped, failed, pending, first_failed,
    first_pending, hash, content, part)
values (%(environment)s, %(task_id)s, %(run)s, %(first)s, %(succeeded)s, %(skipped)s, %(failed)s, %(pending)s,
    %(first_failed)s, %(first_pending)s, %(hash)s, %(content)s, coalesce(
        (select part from shard_chunk where environment = (select %(environment)s::smallint)
            and task_id = %(task_id)s and run = %(run)s and first = %(first)s),
        (select min(part) from attempt where environment = (select %(environment)s::smallint)
            and task_id = %(task_id)s and run = %(run)s)))
on conflict (environment, task_id, run, first, part) do update set
    succeeded = excluded.succeeded, skipped = excluded.skipped, failed = excluded.failed, pending = excluded.pending,
    first_failed = excluded.first_failed, first_pending = excluded.first_pending, hash = excluded.hash,
    content = excluded.content
"""
EMPTY = """
delete from shard_chunk c using unnest(%(tasks)s::bigint[], %(runs)s::text[]) as gone (task_id, run)
where c.environment = %(environment)s and c.task_id = gone.task_id and c.run = gone.run and c.first = ''
"""


def fold(connection: Connection, environment: int, said: Mapping[RunKey, Iterable[Shard]]) -> None:
    """Merges what is said of the shards of these runs with what is known. The caller holds the environment's lock."""
    parameters = {"environment": environment, **keys(sorted(said))}
    firsts: dict[RunKey, list[str]] = {}
    for task_id, run, first in connection.execute(FIRSTS, parameters):
        firsts.setdefault((task_id, run), []).append(first)
    spoken: dict[tuple[RunKey, str], list[Shard]] = {}
    for run_key in sorted(said):
        begins = firsts.get(run_key, [])
        for shard in said[run_key]:
            place = bisect_right(begins, shard.key)
            spoken.setdefault((run_key, begins[place - 1] if place else ""), []).append(shard)
    known = _contents(connection, environment, list(spoken))
    saved: list[Row] = []
    emptied: list[RunKey] = []
    for chunk, shards in spoken.items():
        before = known.get(chunk, {})
        after = merge_all(before, shards)
        if after != before:
            saved += _chunks(chunk, after, before)
            if before and chunk[1] == "" and begins_chunk(min(after)):
                emptied.append(chunk[0])
    connection.cursor().executemany(SAVE, [{"environment": environment, **row} for row in saved])
    if emptied:
        connection.execute(EMPTY, {"environment": environment, **keys(emptied)})


def _contents(
    connection: Connection, environment: int, places: Sequence[tuple[RunKey, str]]
) -> dict[tuple[RunKey, str], dict[str, Shard]]:
    parameters = {**keys([run for run, _ in places]), "firsts": [first for _, first in places]}
    rows = connection.execute(CONTENTS, {"environment": environment, **parameters})
    return {((row[0], row[1]), row[2]): {each.key: each for each in unpack(row[3])} for row in rows}


def _chunks(place: tuple[RunKey, str], shards: Mapping[str, Shard], known: Collection[str]) -> Iterator[Row]:
    """The rows of what was one chunk of the known keys, split where one of the others begins one."""
    (task_id, run), first = place
    ordered = sorted(shards)
    begun = {index for index, key in enumerate(ordered) if key not in known and begins_chunk(key)}
    for begin, end in pairwise(sorted({0, *begun, len(ordered)})):
        named = ordered[begin] if begin in begun else first
        yield {"task_id": task_id, "run": run, "first": named, **_row([shards[key] for key in ordered[begin:end]])}


def begins_chunk(key: str) -> bool:
    """Whether a chunk begins with this key, in whatever manifest it stands."""
    return int.from_bytes(blake2b(key.encode(), digest_size=4).digest()) % MEAN_SHARDS == 0


def _row(shards: Sequence[Shard]) -> dict[str, Any]:
    plain = _packed(shards)
    of_state = {state: [each.key for each in shards if each.state is state] for state in ShardState}
    return {
        **{state.value: len(found) for state, found in of_state.items()},
        "first_failed": next(iter(of_state[ShardState.FAILED]), None),
        "first_pending": next(iter(of_state[ShardState.PENDING]), None),
        "hash": blake2b(plain, digest_size=16).digest(),
        "content": zstandard.ZstdCompressor(level=_LEVEL).compress(plain),
    }


def _packed(shards: Sequence[Shard]) -> bytes:
    moments = sorted({each.ended_at for each in shards if each.ended_at is not None})
    place = {moment: index for index, moment in enumerate(moments, start=1)}
    columns = _Columns(
        keys=[each.key for each in shards],
        states="".join(_LETTERS[each.state] for each in shards),
        moments=[(moment - _EPOCH) // _MICROSECOND for moment in moments],
        told=[place[each.ended_at] if each.ended_at is not None else 0 for each in shards],
        rows=[each.rows for each in shards],
    )
    return msgspec.msgpack.encode(columns)


def unpack(content: bytes) -> list[Shard]:
    """The shards of a chunk, in the order of their keys."""
    plain = zstandard.ZstdDecompressor().decompress(content, max_output_size=_LONGEST)
    columns = msgspec.msgpack.decode(plain, type=_Columns)
    moments = [None, *(_EPOCH + moment * _MICROSECOND for moment in columns.moments)]
    each = zip(columns.keys, columns.states, columns.told, columns.rows, strict=True)
    return [Shard(key, _STATES[letter], moments[told], rows) for key, letter, told, rows in each]


TALLY = """
select wanted.task_id, wanted.run, c.*
from unnest(%(tasks)s::bigint[], %(runs)s::text[]) as wanted (task_id, run)
cross join lateral (
    select sum(succeeded), sum(skipped), sum(failed), sum(pending), min(first_failed), min(first_pending)
    from shard_chunk
    where environment = (select %(environment)s::smallint) and task_id = wanted.task_id and run = wanted.run
    having count(*) > 0
) c
"""


def tallies(connection: Connection, environment: int, runs: Sequence[RunKey]) -> dict[RunKey, Tally]:
    """The counts of those of these runs that have shards."""
    rows = connection.execute(TALLY, {"environment": environment, **keys(runs)})
    return {(row[0], row[1]): _tally(*row[2:]) for row in rows}


def _tally(
    succeeded: int, skipped: int, failed: int, pending: int, first_failed: str | None, first_pending: str | None
) -> Tally:
    total = succeeded + skipped + failed + pending
    return Tally(ShardCounts(total, succeeded, skipped, failed, pending), first_failed, first_pending)


RUNS = """
select distinct wanted.id, c.run from unnest(%(tasks)s::bigint[]) as wanted (id) cross join lateral (
    select run from shard_chunk where environment = (select %(environment)s::smallint) and task_id = wanted.id
) c
"""


def runs_of(connection: Connection, environment: int, tasks: Iterable[int]) -> set[RunKey]:
    """The runs of these tasks that have shards."""
    asked = sorted(tasks)
    rows = connection.execute(RUNS, {"environment": environment, "tasks": asked}) if asked else ()
    return {(row[0], row[1]) for row in rows}


# The chunk that holds the last key seen, or the one behind the last that was read, and those that follow: as far as
# they have any shard of the state.
PAGE = """
select first, content from shard_chunk
where environment = %(environment)s and task_id = %(task)s and run = %(run)s
    and first >= coalesce((
        select max(first) from shard_chunk
        where environment = %(environment)s and task_id = %(task)s and run = %(run)s and first <= %(after)s), '')
    and (not %(behind)s::boolean or first > %(after)s)
    and case %(state)s::text when 'succeeded' then succeeded when 'skipped' then skipped when 'failed' then failed
        when 'pending' then pending else 1 end > 0
order by first limit %(limit)s
"""
_BATCH = 8  # chunks of one query; a page without a filter needs one or two of them


class Stretch(msgspec.Struct, frozen=True):
    """The shards that a page shows, and the key behind which the next one begins; None at the end."""

    shards: list[Shard]
    last: str | None


def page(
    connection: Connection, environment: int, run: RunKey, state: ShardState | None, after: str, limit: int
) -> Stretch:
    """The shards of a run behind a key ('' before all), those of one state or all, in the order of their keys."""
    found: list[Shard] = []
    last: str | None = None
    read = 0
    for content in islice(_contents_from(connection, environment, run, state, after), MOST_CHUNKS):
        shards = unpack(content)
        found += [each for each in shards if each.key > after and state in (None, each.state)]
        if len(found) > limit:
            return Stretch(found[:limit], found[limit - 1].key)
        last, read = shards[-1].key, read + 1
    return Stretch(found, last if read == MOST_CHUNKS else None)


def _contents_from(
    connection: Connection, environment: int, run: RunKey, state: ShardState | None, after: str
) -> Iterator[bytes]:
    given = {"environment": environment, "task": run[0], "run": run[1], "state": state, "limit": _BATCH}
    behind = False
    while True:
        rows = connection.execute(PAGE, {**given, "after": after, "behind": behind}).fetchall()
        yield from (row[1] for row in rows)
        if len(rows) < _BATCH:
            return
        after, behind = rows[-1][0], True
