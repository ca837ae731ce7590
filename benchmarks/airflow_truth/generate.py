"""Random small DAGs: every trigger rule, retries, branches and short circuits, skips, setups with their teardowns,
mapped tasks and task groups.

Guarantees the same DAG for the same seed and number, whatever else is made.
"""

from random import Random

from benchmarks.airflow_truth.spec import Dag, End, Kind, Task
from dataforge.model.edge import TriggerRule

RULES = [rule for rule in TriggerRule if rule is not TriggerRule.ALL_DONE_MIN_ONE_SUCCESS]  # that one is Airflow 3's
MOST_TASKS = 12
_ENDS: tuple[End, ...] = ("succeed", "fail", "skip")
_LENGTHS = (0, 1, 2, 2, 3)


def dag(seed: int, number: int) -> Dag:
    """The DAG of this number."""
    random = Random(f"{seed}/{number}")
    made = Dag(f"d{number:05}", [], fail_stop=random.random() < 0.05)
    for place in range(random.randint(2, MOST_TASKS)):
        made.tasks.append(_task(random, made, place))
    if len(made.tasks) > 2 and random.random() < 0.35:
        _add_setup(random, made)
    for task in made.tasks:
        if task.kind == "branch":
            task.chooses = [name for name in made.downstream(task.name) if random.random() < 0.5]
    if random.random() < 0.15:
        made.days = 3
        for task in made.tasks:
            task.depends_on_past = random.random() < 0.4
            task.wait_for_downstream = task.depends_on_past and random.random() < 0.3
    if made.fail_stop:  # Airflow allows it with no other rule
        for task in made.tasks:
            if task.tears_down is None:
                task.rule = TriggerRule.ALL_SUCCESS
    return made


def _task(random: Random, made: Dag, place: int) -> Task:
    earlier = [task.name for task in made.tasks]
    group = random.choice([None, None, "extract", "load"])
    task = Task(
        name=f"{group}.t{place}" if group else f"t{place}",
        group=group,
        kind=_kind(random),
        rule=random.choice(RULES) if random.random() < 0.75 else TriggerRule.ALL_SUCCESS,
        upstream=sorted(random.sample(earlier, min(len(earlier), random.choice([0, 1, 1, 2, 2, 3])))),
    )
    if task.kind == "empty":
        return task
    task.retries = random.choice([0, 0, 0, 1, 2])
    task.goes_on, task.ignores_rules = random.random() < 0.5, random.random() < 0.6
    if task.kind == "python":
        _map(random, made, task)
    rows = 1 if task.mapped is None else 4
    task.ends = [[_end(random) for _ in range(task.retries + 1)] for _ in range(rows)]
    return task


def _kind(random: Random) -> Kind:
    kinds: list[Kind] = ["python", "empty", "branch", "short_circuit"]
    return random.choices(kinds, [66, 12, 12, 10])[0]


def _end(random: Random) -> End:
    return random.choices(_ENDS, [62, 26, 12])[0]


def _map(random: Random, made: Dag, task: Task) -> None:
    """Maps some tasks, over a literal list or over what an upstream task returns."""
    chance = random.random()
    if chance < 0.1:
        task.mapped = random.choice(_LENGTHS)
    sources = [name for name in task.upstream if made.task(name).kind == "python"]
    if chance > 0.75 and sources:
        task.mapped = random.choice(sources)
        source = made.task(task.mapped)
        if source.returns is None:
            source.returns = random.choice(_LENGTHS)


def _add_setup(random: Random, made: Dag) -> None:
    """Makes one task the setup and a later one its teardown, with whatever lies between them as their work."""
    places = sorted(random.sample(range(len(made.tasks)), 2))
    setup, teardown = (made.tasks[place] for place in places)
    if setup.mapped is not None or teardown.mapped is not None or teardown.kind in ("branch", "short_circuit"):
        return
    setup.setup = True
    teardown.tears_down, teardown.rule = setup.name, TriggerRule.ALL_DONE_SETUP_SUCCESS
    teardown.upstream = sorted({*teardown.upstream, setup.name})
    for task in made.tasks[places[0] + 1 : places[1]]:
        if random.random() < 0.6:
            task.upstream = sorted({*task.upstream, setup.name})
        if random.random() < 0.6:
            teardown.upstream = sorted({*teardown.upstream, task.name})
    for name in made.downstream(setup.name):  # Airflow allows no other rule there
        if name != teardown.name:
            made.task(name).rule = TriggerRule.ALL_SUCCESS
