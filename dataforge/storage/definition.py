"""What sources have declared: their manifests, and the definition that stands of each task, dataset and pool."""

from collections.abc import Iterable, Mapping

import msgspec
from psycopg import Connection

from dataforge.model import partition
from dataforge.model.manifest import (
    DatasetDefinition,
    Manifest,
    PoolDefinition,
    TaskDefinition,
    stored_dataset,
    stored_manifest,
)
from dataforge.model.partition import Partitioning
from dataforge.model.reference import DatasetRef, TaskRef
from dataforge.storage.database import ask
from dataforge.storage.record_set import spread
from dataforge.storage.task import EffectiveTask

MANIFEST = "select manifest from definition_source where environment = %s and source = %s"


def manifest_of(connection: Connection, environment: int, source: str) -> Manifest | None:
    """What the source declared last; None when it never has."""
    row = connection.execute(MANIFEST, [environment, source]).fetchone()
    return stored_manifest(row[0]) if row else None


STORE = """
insert into definition_source (environment, source, manifest)
select environment, %s, content from manifest where environment = %s and hash = %s
on conflict (environment, source) do update set manifest = excluded.manifest, declared_at = now()
"""


def store(connection: Connection, environment: int, source: str, found_by: bytes) -> None:
    """Makes a manifest that is kept (`version.keep_manifest`) what its source declared last."""
    connection.execute(STORE, [source, environment, found_by])


POOLS_ELSEWHERE = "select name, source from pool where environment = %s and name = any(%s) and source <> %s"


def pools_elsewhere(connection: Connection, environment: int, pools: Iterable[str], source: str) -> dict[str, str]:
    """Which of these pools another source declares, and which source that is."""
    asked = list(pools)
    return dict(connection.execute(POOLS_ELSEWHERE, [environment, asked, source]).fetchall()) if asked else {}


# Reads every other manifest; asked only of datasets that are declared already.
DATASETS_ELSEWHERE = """
select source, dataset from definition_source, jsonb_array_elements(manifest -> 'datasets') as dataset
where environment = %s and source <> %s and (dataset ->> 'namespace', dataset ->> 'name') in (
    select * from unnest(%s::text[], %s::text[]))
"""


def datasets_elsewhere(
    connection: Connection, environment: int, datasets: Iterable[DatasetRef], source: str
) -> dict[DatasetRef, dict[str, DatasetDefinition]]:
    """What each other source says of these datasets."""
    asked = list(datasets)
    if not asked:
        return {}
    names = [dataset.namespace for dataset in asked], [dataset.name for dataset in asked]
    found: dict[DatasetRef, dict[str, DatasetDefinition]] = {}
    for other, shape in connection.execute(DATASETS_ELSEWHERE, [environment, source, *names]):
        said = stored_dataset(shape)
        found.setdefault(said.ref, {})[other] = said
    return found


# A definition that is not kept gives none, which no task that is declared may lack.
DEFINE_TASKS = """
insert into task (environment, id, namespace, name, declared_by, definition, version, platform, owner, domain,
    partitioning, partitioning_origin)
select here.id, said.id, said.namespace, said.name, %s, kept.definition, said.version, said.platform, said.owner,
    said.domain, said.partitioning, said.partitioning_origin
from (select %s::smallint as id) as here
cross join json_to_recordset(%s::json) as said (id bigint, namespace text, name text, version bytea, platform text,
    owner text, domain text, partitioning jsonb, partitioning_origin origin)
left join lateral (
    select definition from task_version
    where environment = (select here.id) and task_id = said.id and version = said.version offset 0
) kept on true
order by said.id
on conflict (environment, id) do update set declared_by = excluded.declared_by, definition = excluded.definition,
    version = excluded.version, platform = excluded.platform, owner = excluded.owner, domain = excluded.domain,
    partitioning = excluded.partitioning, partitioning_origin = excluded.partitioning_origin
"""


def define_tasks(
    connection: Connection, environment: int, source: str, tasks: Iterable[tuple[TaskRef, bytes, EffectiveTask]]
) -> None:
    """Makes these versions the definitions of their tasks, with the columns that follow, whether or not the tasks are
    known; they are kept already (`version.keep_tasks`)."""
    rows = [
        {"namespace": task.namespace, "name": task.name, "version": version, **msgspec.structs.asdict(effective)}
        for task, version, effective in tasks
    ]
    if rows:
        ask(connection, DEFINE_TASKS, [source, environment, spread(rows)])


RETIRE_TASKS = """
update task set declared_by = null, definition = null, version = null where environment = %s and id = any(%s)
"""


def retire_tasks(connection: Connection, environment: int, tasks: Iterable[TaskDefinition]) -> None:
    """Takes the definitions away; what was observed stays."""
    if retired := [task.ref.id for task in tasks]:
        connection.execute(RETIRE_TASKS, [environment, retired])


DEFINE_DATASETS = """
insert into dataset (environment, id, namespace, name, canonical_id, declared_by, definition, owner, partitioning)
select %s, id, namespace, name, id, source, definition, owner, definition -> 'partitioning'
from json_to_recordset(%s::json) as said
    (id bigint, namespace text, name text, source text, definition jsonb, owner text)
order by id
on conflict (environment, id) do update set declared_by = excluded.declared_by, definition = excluded.definition,
    owner = excluded.owner, partitioning = excluded.partitioning
"""


def define_datasets(
    connection: Connection,
    environment: int,
    standing: Mapping[DatasetRef, tuple[str, DatasetDefinition] | None],
    owners: Mapping[int, str | None],
) -> None:
    """Sets whose statement of each dataset stands, None where nobody declares it any more; and the columns that follow,
    of which the owner may be an observed one. The datasets need not be known."""
    rows = [
        {
            "id": ref.id,
            "namespace": ref.namespace,
            "name": ref.name,
            "source": said[0] if said else None,
            "definition": said[1] if said else None,
            "owner": owners[ref.id],
        }
        for ref, said in standing.items()
    ]
    if rows:
        ask(connection, DEFINE_DATASETS, [environment, spread(rows)])


TASK_CUTS = """
select id, partitioning from task
where environment = %s and id = any(%s) and declared_by <> %s and partitioning_origin = 'declared'
"""


def task_cuts(connection: Connection, environment: int, tasks: Iterable[int], source: str) -> dict[int, Partitioning]:
    """How these tasks are cut, as far as another source declares it."""
    asked = list(tasks)
    rows = connection.execute(TASK_CUTS, [environment, asked, source]) if asked else ()
    return {task: partition.from_json(cut) for task, cut in rows}


DATASET_CUTS = """
select id, definition -> 'partitioning' from dataset
where environment = %s and id = any(%s) and declared_by <> %s and definition ? 'partitioning'
"""


def dataset_cuts(
    connection: Connection, environment: int, datasets: Iterable[int], source: str
) -> dict[int, Partitioning]:
    """How these datasets are cut, each under its own name, as far as another source declares it."""
    asked = list(datasets)
    rows = connection.execute(DATASET_CUTS, [environment, asked, source]) if asked else ()
    return {dataset: partition.from_json(cut) for dataset, cut in rows}


REMOVE_ALIASES = "delete from alias where environment = %s and source = %s and dataset_id = any(%s)"
ADD_ALIASES = """
insert into alias (environment, dataset_id, alias_id, origin, source)
select %s, dataset_id, alias_id, 'declared', %s
from unnest(%s::bigint[], %s::bigint[]) as pair (dataset_id, alias_id)
"""


def replace_aliases(
    connection: Connection,
    environment: int,
    source: str,
    known: Iterable[DatasetRef],
    said: Iterable[DatasetDefinition],
) -> None:
    """Makes the aliases of `said` all that the source declares of them and of what is `known`: others have none."""
    if former := [dataset.id for dataset in known]:
        connection.execute(REMOVE_ALIASES, [environment, source, former])
    if pairs := sorted((dataset.ref.id, alias.id) for dataset in said for alias in dataset.aliases):
        columns = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        connection.execute(ADD_ALIASES, [environment, source, *columns])


ALIASES = """
select dataset_id, alias_id
from unnest(%(ids)s::bigint[]) as wanted (id)
cross join lateral (
    select * from alias where environment = (select %(environment)s::smallint) and dataset_id = wanted.id
    union all
    select * from alias where environment = (select %(environment)s::smallint) and alias_id = wanted.id
    offset 0
) with_name
where origin = 'declared' and source <> %(source)s
"""


def declared_aliases(
    connection: Connection, environment: int, datasets: Iterable[int], but_source: str
) -> set[tuple[int, int]]:
    """The pairs of names that other sources declare to be one dataset, where one of these is part of the pair."""
    asked = list(datasets)
    parameters = {"environment": environment, "source": but_source, "ids": asked}
    return {(row[0], row[1]) for row in (connection.execute(ALIASES, parameters) if asked else ())}


ALL_ALIASES = "select dataset_id, alias_id from alias where environment = %s and origin = 'declared' and source <> %s"


def all_declared_aliases(connection: Connection, environment: int, but_source: str) -> set[tuple[int, int]]:
    """All pairs of names that other sources declare to be one dataset."""
    return {(row[0], row[1]) for row in connection.execute(ALL_ALIASES, [environment, but_source])}


REMOVE_POOLS = "delete from pool where environment = %s and source = %s"
ADD_POOLS = """
insert into pool (environment, name, slots, source)
select %s, name, slots, %s from unnest(%s::text[], %s::integer[]) as said (name, slots)
"""


def replace_pools(connection: Connection, environment: int, source: str, pools: Iterable[PoolDefinition]) -> None:
    """Makes these the pools of the source."""
    said = list(pools)
    connection.execute(REMOVE_POOLS, [environment, source])
    connection.execute(ADD_POOLS, [environment, source, [pool.name for pool in said], [pool.slots for pool in said]])


ALL_MANIFESTS = "select manifest from definition_source where environment = %s order by source"


def manifests(connection: Connection, environment: int) -> list[Manifest]:
    """What every source declared last."""
    return [stored_manifest(row[0]) for row in connection.execute(ALL_MANIFESTS, [environment])]
