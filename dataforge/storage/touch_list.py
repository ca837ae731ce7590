"""What runs read and wrote, as lists show it: by the datasets' canonical names."""

from collections.abc import Sequence

from psycopg import Connection

from dataforge.model.attempt import Touch, merge_touches
from dataforge.model.catalog import TouchItem
from dataforge.model.reference import DatasetRef

# A Spark application does all its reading and writing in its steps, which name it as their parent. A table that
# a step drops is not an output of it. An RDD job that never ended is mostly Spark looking at the first file of an
# input for its schema: that the input is read is a guess then, and the partition is that file's, whatever is read.
LOAD = """
with decided as (
    select place, a.task_id, a.run, a.attempt_id, a.external_run, a.kind, a.platform
    from unnest(%(tasks)s::bigint[], %(runs)s::text[], %(attempts)s::text[])
        with ordinality as wanted (task_id, run, attempt_id, place)
    join attempt a on a.environment = %(environment)s
        and a.task_id = wanted.task_id and a.run = wanted.run and a.attempt_id = wanted.attempt_id
), toucher as (
    select place, task_id, run, attempt_id, false as guessed from decided
    union
    select d.place, s.task_id, s.run, s.attempt_id, not s.completed and s.source ->> 'job_type' = 'RDD_JOB'
    from decided d join attempt s on s.environment = %(environment)s and s.parent_run = d.external_run
    where d.kind = 'task' and d.platform = 'spark' and s.kind = 'step'
)
select place, coalesce(guessed, false), direction, canonical.namespace, canonical.name,
    case when guessed then '' else touch.partition end, first_at, last_at, version, version_at, rows
from toucher
join touch on touch.environment = %(environment)s and touch.task_id = toucher.task_id
    and touch.run = toucher.run and touch.attempt_id = toucher.attempt_id
join dataset named on named.environment = %(environment)s and named.id = touch.dataset_id
join dataset canonical on canonical.environment = %(environment)s and canonical.id = named.canonical_id
where not (direction = 'output' and coalesce(change, '') = 'DROP')
order by place, direction, canonical.namespace, canonical.name, touch.partition
"""


def load(
    connection: Connection, environment: int, attempts: Sequence[tuple[int, str, str]]
) -> list[tuple[list[TouchItem], list[TouchItem]]]:
    """The inputs and the outputs of each of the attempts, which are named by the ids of task, run and attempt."""
    parameters = {
        "environment": environment,
        "tasks": [attempt[0] for attempt in attempts],
        "runs": [attempt[1] for attempt in attempts],
        "attempts": [attempt[2] for attempt in attempts],
    }
    touched: list[list[tuple[Touch, bool]]] = [[] for _ in attempts]
    for place, guessed, direction, namespace, name, *rest in connection.execute(LOAD, parameters):
        touched[place - 1].append((Touch(direction, DatasetRef(namespace, name), *rest), guessed))
    return [(_shown(touches, "input"), _shown(touches, "output")) for touches in touched]


def _shown(touches: list[tuple[Touch, bool]], direction: str) -> list[TouchItem]:
    """The touches of one direction; what several steps or names touched alike is shown once."""
    ours = [(touch, guessed) for touch, guessed in touches if touch.direction == direction]
    seen = {touch.dataset for touch, guessed in ours if not guessed}
    kept = tuple(touch for touch, guessed in ours if not (guessed and touch.dataset in seen))
    return [TouchItem.of(touch, guessed=touch.dataset not in seen) for touch in merge_touches((), kept)]
