"""Steps of an EMR cluster, launched from Dagster: one for each partition, all of a wave under way at once.

EMR tells the ledger nothing, so the hand claims, and says how each attempt ended. Guarantees that a step is named for
task, partition and attempt and looked up by that before another is added, so that nothing is started beside itself,
whatever was killed when.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, AssetSpec, MetadataValue

from dataforge_assets.hands.admission import orders_of
from dataforge_assets.hands.attempt import Attempt, attempts_of, stem
from dataforge_assets.hands.claims import Claims
from dataforge_assets.hands.launch import BY_CLAIM, launched, task_named
from dataforge_assets.hands.wave import Admission, End
from resources.emr import EmrResource, Step
from resources.identity import dataset_of
from resources.model import TaskRef
from resources.refused import Gone, Refused
from resources.terms import NOTHING_SAID, Declared

Command = Callable[[Attempt], Sequence[str]]


def emr_step(spec: AssetSpec, command: Command, *, terms: Declared = NOTHING_SAID) -> AssetsDefinition:
    """The asset that a step makes: `command` is what the cluster's `command-runner.jar` runs for one attempt."""
    task, attempts = task_named(spec), attempts_of(spec, task_named(spec))

    def grasp(context: AssetExecutionContext) -> EmrSteps:
        claims = Claims(orders_of(context, task), dataset_of(spec.metadata))
        return EmrSteps(claims, context.resources.emr, task, attempts, command, context.log)

    return launched(spec, grasp, told_by=BY_CLAIM, resource="emr", terms=terms)


class EmrSteps:
    """The hand on the steps of one task, for one wave."""

    def __init__(
        self,
        claims: Claims,
        emr: EmrResource,
        task: TaskRef,
        attempts: Callable[[str, int], Attempt],
        command: Command,
        log: Any,
    ) -> None:
        self._claims, self._emr, self._task, self._log = claims, emr, task, log
        self._attempts, self._command = attempts, command
        self._steps: dict[str, str] = {}  # the step of each partition under way
        self._alive: dict[str, str] = {}  # what was under way before this wave claimed

    def admit(self, keys: Sequence[str], room: int) -> dict[str, Admission]:
        """Claims, as long as there is a cluster that takes steps. What is under way of earlier attempts is looked up
        before: it is joined, even if it has ended by the time that the claim is granted."""
        self._emr.require()
        self._alive |= {key: step.id for key, step in self._known(keys) if not step.over}
        return self._claims.admit(keys, room)

    def start(self, keys: Sequence[str]) -> dict[str, End]:
        """Adds the steps that the cluster does not have; those that it has are joined."""
        try:
            attempts = {key: self._attempts(key, self._claims.attempt(key)) for key in keys}
            known = {key: step.id for key, step in self._known(keys) if step.name == attempts[key].name}
            known |= {key: self._alive[key] for key in keys if key in self._alive}
            missing = {key: attempt for key, attempt in attempts.items() if key not in known}
            wanted = [(attempt.name, self._command(attempt)) for attempt in missing.values()]
            added = self._emr.add(wanted, self._log) if wanted else []
        except Refused as error:
            return self._claims.end(dict.fromkeys(keys, End(False, str(error))))
        self._steps |= known | dict(zip(missing, added, strict=True))
        return {}

    def ended(self, keys: Sequence[str]) -> dict[str, End]:
        """The steps that are over, by what EMR says of them; and what was lost to others meanwhile."""
        ends = {key: end for key, end in self._claims.beat().items() if key in keys}
        rest = [key for key in keys if key not in ends]
        known = {step.id: step for step in self._emr.of([self._steps[key] for key in rest])}
        over = {key: step for key in rest if (step := known.get(self._steps[key])) and step.over}
        ends |= self._claims.end({key: self._end(step) for key, step in over.items()})
        return ends | self._stranded([key for key in rest if key not in over])

    def leave(self, keys: Sequence[str], why: str) -> None:
        """Gives the claims back; the steps go on, and are joined by whoever is granted the next attempt."""
        self._claims.give_back(keys, why)

    def _stranded(self, keys: Sequence[str]) -> dict[str, End]:
        """Those of which nothing will be heard, since their cluster is gone."""
        try:
            if keys:
                self._emr.require()
        except Gone as error:
            return self._claims.end(dict.fromkeys(keys, End(False, str(error))))
        except Refused:  # asked again the next time
            return {}
        return {}

    def _known(self, keys: Sequence[str]) -> Iterator[tuple[str, Step]]:
        """The steps that the cluster has of these partitions, of whatever attempt."""
        stems = {stem(self._task, key): key for key in keys}
        for step in self._emr.steps():
            key = stems.get(step.name.rpartition("#")[0])
            if key is not None:
                yield key, step

    def _end(self, step: Step) -> End:
        good = step.state == "COMPLETED"
        said = f"the step {step.id} is {step.state.lower()}{f': {step.why}' if step.why else ''}"
        metadata = {"dataforge/emr_step": step.id, "dataforge/emr": MetadataValue.url(self._emr.page(step.id))}
        return End(good, said, made=good, metadata=metadata)
