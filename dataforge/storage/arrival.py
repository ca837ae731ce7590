"""What is known of datasets that are asked whether they come in time, of many at once."""

from collections.abc import Iterable

import msgspec
from psycopg import Connection

from dataforge.model.arrival import Came


class Known(msgspec.Struct, frozen=True):
    """A dataset by its canonical id. `partitioning` and `due` are its own; `cuts` and `dues` are those of the tasks
    that are declared to write its partition of the same key; as JSON."""

    id: int
    declared: bool
    observed: bool
    owner: str | None
    partitioning: str | None
    cuts: list[str]
    due: str | None
    dues: list[str]


KNOWN = """
select asked.id, named.declared or writers.declared, named.observed or named.stated,
    coalesce(named.owner, writers.owner), named.partitioning, writers.cuts, named.due, writers.dues
from unnest(%(ids)s::bigint[]) as asked (id)
cross join lateral (
    select bool_or(d.declared_by is not null) as declared, min(d.partitioning::text) as partitioning,
        (array_agg(d.owner order by d.id <> asked.id, d.name) filter (where d.owner is not null))[1] as owner,
        (array_agg(d.definition ->> 'due' order by d.id <> asked.id, d.name) filter (where d.definition ? 'due'))[1]
            as due,
        bool_or(exists (
            select from edge e
            where e.environment = %(environment)s and e.node_kind = 'dataset' and e.node_id = d.id
                and e.origin = 'observed'
        )) as observed,
        exists (
            select from partition_state s
            where s.environment = %(environment)s and s.node_kind = 'dataset' and s.node_id = asked.id
        ) as stated
    from dataset d where d.environment = %(environment)s and d.canonical_id = asked.id
) named
cross join lateral (
    select count(*) > 0 as declared, min(t.owner) as owner,
        coalesce(array_agg(distinct t.partitioning::text) filter (where e.mapping = '{"kind": "same"}'), '{}') as cuts,
        coalesce(array_agg(distinct t.definition ->> 'due')
            filter (where e.mapping = '{"kind": "same"}' and t.definition ? 'due'), '{}') as dues
    from dataset d
    join edge e on e.environment = d.environment and e.node_kind = 'dataset' and e.node_id = d.id
        and e.relation = 'produces' and e.origin = 'declared'
    join task t on t.environment = e.environment and t.id = e.task_id
    where d.environment = %(environment)s and d.canonical_id = asked.id
) writers
"""


def known(connection: Connection, environment: int, datasets: Iterable[int]) -> dict[int, Known]:
    """These datasets, by their canonical ids."""
    rows = connection.execute(KNOWN, {"environment": environment, "ids": list(datasets)}, prepare=False)
    return {row[0]: Known(*row) for row in rows}


# The keys of time windows sort by time, so the last ones are the end of one range of the primary key.
CAME = """
select asked.id, s.partition, s.ready_since
from unnest(%(ids)s::bigint[]) as asked (id)
cross join lateral (
    select partition, ready_since from partition_state
    where environment = %(environment)s and node_kind = 'dataset' and node_id = asked.id
    order by partition desc limit 20
) s
where s.ready_since is not null
"""


def came(connection: Connection, environment: int, datasets: Iterable[int]) -> dict[int, list[Came]]:
    """The successes among the last 20 partitions of each."""
    found: dict[int, list[Came]] = {}
    for dataset, partition, at in connection.execute(CAME, {"environment": environment, "ids": list(datasets)}):
        found.setdefault(dataset, []).append(Came(partition, at))
    return found
