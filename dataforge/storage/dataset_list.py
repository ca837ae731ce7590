"""Datasets as lists show them: each once, under its canonical name, with its other names."""

import msgspec
from psycopg import Connection

from dataforge.model.catalog import DatasetItem
from dataforge.model.filter import DatasetFilter
from dataforge.model.listing import MOST_EXAMINED, Examined, examined
from dataforge.model.reference import DatasetRef


class DatasetPlace(msgspec.Struct, frozen=True, array_like=True, tag="datasets"):
    """The place of a dataset in the list."""

    namespace: str
    name: str


# Planned with its values each time (prepare=False), so that a namespace which is given bounds the range.
MATCHING = """
with looked_at as (
    select namespace, name, id = canonical_id as canonical,
        case when owner is not null or %(owner)s::text is null then owner else (
            select min(m.owner) from dataset m
            where m.environment = dataset.environment and m.canonical_id = dataset.id and m.owner = %(owner)s
        ) end as owner
    from dataset where environment = %(environment)s
        and (%(namespace)s::text is null or namespace = %(namespace)s)
        and (namespace, name) > (%(after_namespace)s, %(after_name)s)
    order by namespace, name limit %(most)s
), judged as (
    select namespace, name,
        canonical
        and (%(owner)s::text is null or coalesce(owner, '') = %(owner)s) as matches,
        row_number() over (order by namespace, name) as place,
        count(*) over () as read
    from looked_at
)
select namespace, name, matches, read from judged where matches or place = read
order by place limit %(limit)s + 1
"""


def find(
    connection: Connection, environment: int, wanted: DatasetFilter, after: DatasetPlace | None
) -> Examined[DatasetPlace]:
    """The datasets that one page's stretch holds."""
    parameters = {
        **msgspec.structs.asdict(wanted),
        "environment": environment,
        "after_namespace": after.namespace if after else "",
        "after_name": after.name if after else "",
        "most": MOST_EXAMINED,
    }
    rows = connection.execute(MATCHING, parameters, prepare=False).fetchall()
    places = [(DatasetPlace(namespace, name), matches) for namespace, name, matches, _ in rows]
    return examined(places, rows[0][3] if rows else 0, MOST_EXAMINED)


# A register holds [event time, event id, value]. What was said of any of its names is said of the dataset, and of each
# field the latest stands.
LOAD = """
select d.namespace, d.name,
    (select coalesce(jsonb_agg(jsonb_build_object('namespace', a.namespace, 'name', a.name)
                               order by a.namespace, a.name), '[]')
     from dataset a where a.environment = d.environment and a.canonical_id = d.id and a.id <> d.id),
    coalesce(d.owner, said.owner), d.partitioning, d.declared_by, coalesce(said.fields, '[]'),
    coalesce(d.definition ->> 'description', said.description),
    coalesce(d.definition -> 'tags', '[]'), coalesce(d.definition -> 'links', '{}')
from dataset d
cross join lateral (
    select (array_agg(m.observed -> 'schema' -> 2 order by m.observed -> 'schema' ->> 0 desc,
                m.observed -> 'schema' ->> 1 desc) filter (where m.observed ? 'schema'))[1] as fields,
        (array_agg(m.observed -> 'description' ->> 2 order by m.observed -> 'description' ->> 0 desc,
                m.observed -> 'description' ->> 1 desc) filter (where m.observed ? 'description'))[1] as description,
        (array_agg(m.owner order by m.observed -> 'owner' ->> 0 desc nulls last, m.namespace, m.name)
            filter (where m.owner is not null))[1] as owner
    from dataset m where m.environment = d.environment and m.canonical_id = d.id
) said
where d.environment = %s and d.id = any(%s)
order by d.namespace, d.name
"""


def load(connection: Connection, environment: int, datasets: list[DatasetRef]) -> list[DatasetItem]:
    """These datasets, in the order of the list."""
    columns = DatasetItem.__struct_fields__
    rows = connection.execute(LOAD, [environment, [dataset.id for dataset in datasets]])
    return [msgspec.convert(dict(zip(columns, row, strict=True)), DatasetItem) for row in rows]
