"""Statements as events: native ones, and OpenLineage's, padded with a facet to the size that a platform's have."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import msgspec

from benchmarks.world.graph import FIRST_DAY, LAKE, NAMESPACE, Cadence, World
from benchmarks.world.hours import CAME_LATE, HOUR, LATENESS, NO_CLIENT, PASSED, RUNNING, STATES, SUCCEEDED, Statements

_BEGIN = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
_RUNS = UUID("8f0c2f4e-6a55-5d5e-9d7e-0d6c0a4f4a51")  # the name space of run ids
_PRODUCER = "https://github.com/OpenLineage/OpenLineage/tree/1.53.0/client/python"
_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_WORDS = "select customer_id, sum(amount) as revenue from lake.orders join lake.payments using (order_id) group by 1; "
_encode = msgspec.json.Encoder().encode


class Said(msgspec.Struct, frozen=True):
    """One statement, by its names."""

    at: str
    task: str
    dataset: str
    reads: list[tuple[str, str]]  # datasets, with a partition that no mapping implies
    run: str
    partition: str
    attempt: int
    state: str
    rows: int
    watermark: str = ""
    late: bool = False


def moment(at: int) -> str:
    """A time of the world, as events write it."""
    return (_BEGIN + timedelta(microseconds=at)).isoformat()


def key(cadence: Cadence, window: int, client: int) -> str:
    """The partition of a window, and of a client where it has one."""
    begins = _BEGIN + timedelta(microseconds=window)
    by_day = cadence in (Cadence.DAILY, Cadence.BY_CLIENT)
    time = f"{begins:%Y-%m-%d}" if by_day else f"{begins:%Y-%m-%d-%H:%M}"
    return time if client == NO_CLIENT else f"c{client:03}|{time}"


def said(world: World, statements: Statements) -> Iterator[Said]:
    """The statements, one by one."""
    columns = [column.tolist() for column in (*statements.run, *statements[1:])]
    for task, window, client, again, _, _, _, _, at, _, attempt, state in zip(*columns, strict=True):
        partition = key(Cadence(world.cadence[task]), window, client)
        if state in (PASSED, CAME_LATE):
            reached = moment(window + HOUR + LATENESS) if state == PASSED else ""
            yield _streamed(world, task, at, partition, reached)
            continue
        yield Said(
            at=moment(at),
            task=world.name(task),
            dataset=world.dataset(task),
            reads=_reads(world, task, window) if state == RUNNING else [],
            run=f"{'manual' if again else 'scheduled'}__{partition}",
            partition=partition,
            attempt=attempt,
            state=STATES[state],
            rows=(task * 7_919 + window // HOUR) % 100_000 if state == SUCCEEDED else 0,
        )


def _streamed(world: World, task: int, at: int, partition: str, watermark: str) -> Said:
    """A stream's word: how far it has come, or that rows came late for a partition."""
    return Said(
        at=moment(at),
        task=world.name(task),
        dataset=world.dataset(task),
        reads=[],
        run="stream",
        partition=partition,
        attempt=1,
        state="running",
        rows=0 if watermark else 1 + task % 1_000,
        watermark=watermark,
        late=not watermark,
    )


def _reads(world: World, task: int, window: int) -> list[tuple[str, str]]:
    """Up to two of a task's upstreams, each in the window before: what a run really read, beyond its mapping."""
    found = []
    for upstream in world.reads(task)[: 1 + task % 3 // 2].tolist():
        cadence = Cadence(world.cadence[upstream])
        if cadence in (Cadence.BY_CLIENT, Cadence.BY_CLIENT_HOURLY):
            continue
        length = 24 * HOUR if cadence is Cadence.DAILY else HOUR // 12 if cadence is Cadence.FIVE_MINUTES else HOUR
        if window >= length:
            found.append((world.dataset(upstream), key(cadence, window // length * length - length, NO_CLIENT)))
    return found


def native(each: Said) -> bytes:
    """The statement in the native form, the only one that streams have."""
    event = {
        "time": each.at,
        "task": {"namespace": NAMESPACE, "name": each.task},
        "run": each.run,
        "attempt": each.attempt,
        "state": each.state,
    }
    if each.watermark:
        return _encode(event | {"watermark": each.watermark})
    if each.late:
        return _encode(event | {"late": [{"partition": each.partition, "rows": each.rows}]})
    event["partition"] = each.partition
    if each.reads:
        event["inputs"] = [{"namespace": LAKE, "name": name, "partition": read} for name, read in each.reads]
    if each.state == "succeeded":
        event["outputs"] = [{"namespace": LAKE, "name": each.dataset, "rows": each.rows}]
    return _encode(event)


def openlineage(size: int) -> Callable[[Said], bytes]:
    """A writer of OpenLineage events of about so many bytes: the query of the job is as long as is left."""
    types = {"running": "START", "succeeded": "COMPLETE", "skipped": "ABORT"}

    def write(each: Said) -> bytes:
        run_id = uuid5(_RUNS, f"{each.task}/{each.run}/{each.attempt}")
        event = {
            "eventTime": each.at,
            "eventType": types.get(each.state, "FAIL"),
            "producer": _PRODUCER,
            "schemaURL": _SCHEMA,
            "run": {"runId": str(run_id), "facets": {"nominalTime": _facet(nominalStartTime=each.at)}},
            "job": {"namespace": NAMESPACE, "name": each.task, "facets": {}},
            "inputs": [{"namespace": LAKE, "name": f"{name}/{read}"} for name, read in each.reads],
            "outputs": [
                {
                    "namespace": LAKE,
                    "name": f"{each.dataset}/ds={each.partition[:10]}",
                    "outputFacets": {"outputStatistics": _facet(rowCount=each.rows)},
                }
            ],
        }
        missing = max(size - len(_encode(event)) - 200, 0)
        query = (_WORDS * (missing // len(_WORDS) + 1))[:missing]
        event["job"] = {"namespace": NAMESPACE, "name": each.task, "facets": {"sql": _facet(query=query)}}
        return _encode(event)

    return write


def _facet(**values: object) -> dict[str, object]:
    return {"_producer": _PRODUCER, "_schemaURL": "https://openlineage.io/spec/facets/1-0-0/Facet.json", **values}
