"""A running EMR cluster, as far as steps are added to it and watched from elsewhere.

Guarantees that questions about many steps are few requests, and that each refusal is one line that names the cluster,
what was wrong, and what to do. Dagster's own `EmrJobRunner` asks AWS; credentials, region and endpoint are found where
boto3 looks for them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from dagster import ConfigurableResource
from dagster_aws.emr import EmrError, EmrJobRunner
from pydantic import Field, PrivateAttr

from resources.configuration import given
from resources.refused import Gone, Refused

NAMED = 10  # steps in one question; EMR's own bound
_RUNNER: Any = EmrJobRunner  # has no types
_GONE = frozenset({"TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS"})
_REMEDY = "start one, and name it (or its id) in DATAFORGE_EMR_CLUSTER"


class Step(msgspec.Struct, frozen=True):
    """One step of a cluster."""

    id: str
    name: str
    state: str  # PENDING, CANCEL_PENDING, RUNNING, COMPLETED, CANCELLED, FAILED or INTERRUPTED
    why: str = ""

    @property
    def over(self) -> bool:
        """Whether it will not change any more."""
        return self.state in ("COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED")


class EmrResource(ConfigurableResource[Any]):
    """One cluster of EMR's, by its id or its name; nothing connects before the first question."""

    cluster: str = Field(default="", description="The cluster's id (j-...) or its name.")
    region: str = Field(default="", description="The AWS region it is in, such as eu-central-1.")
    pause_seconds: int = Field(default=30, description="How long is waited where AWS asks for fewer requests.")

    _id: str = PrivateAttr(default="")
    _client: Any = PrivateAttr(default=None)

    def require(self) -> str:
        """The cluster's id. Raises Refused where there is none, or where it takes no steps any more."""
        if not self.cluster or not self.region:
            raise Refused(f"no EMR cluster is named: {_REMEDY}, with its region in DATAFORGE_EMR_REGION")
        if not self._id:
            self._id = self.cluster if self.cluster.startswith("j-") else self._named()
        status = self._ask(self._runner().describe_cluster, self._id)["Cluster"]["Status"]
        if status["State"] in _GONE:
            why = status.get("StateChangeReason", {}).get("Message")
            raise Gone(
                f"the EMR cluster {self.cluster} in {self.region} takes no steps: it is {status['State'].lower()}"
                f"{f' ({why})' if why else ''}; {_REMEDY}"
            )
        return self._id

    def add(self, steps: Sequence[tuple[str, Sequence[str]]], log: Any) -> list[str]:
        """Adds steps, each a name and the command that it runs; returns their ids, in the same order."""
        runner = self._runner()
        made = [runner.construct_step_dict_for_command(name, [*command]) for name, command in steps]
        added: list[str] = self._ask(runner.add_job_flow_steps, log, self._id, made)
        return added

    def steps(self) -> Iterator[Step]:
        """All steps that the cluster still knows, the latest first."""
        yield from self._listed({})

    def of(self, ids: Sequence[str]) -> Iterator[Step]:
        """These steps."""
        for begin in range(0, len(ids), NAMED):
            yield from self._listed({"StepIds": [*ids[begin : begin + NAMED]]})

    def page(self, step: str) -> str:
        """Where AWS shows the step."""
        console = f"https://{self.region}.console.aws.amazon.com/emr/home?region={self.region}"
        return f"{console}#/clusterDetails/{self._id}?stepId={step}"

    def _listed(self, question: dict[str, Any]) -> Iterator[Step]:
        if self._client is None:
            self._client = self._ask(self._runner().make_emr_client)
        more: dict[str, Any] = {}
        while True:
            page = self._ask(self._client.list_steps, ClusterId=self._id, **question, **more)
            yield from map(_step, page["Steps"])
            if not page.get("Marker"):
                return
            more = {"Marker": page["Marker"]}

    def _named(self) -> str:
        try:
            found: str = self._ask(self._runner().cluster_id_from_name, self.cluster)
        except EmrError as error:
            raise Refused(f"there is no EMR cluster {self.cluster} in {self.region}: {_REMEDY}") from error
        return found

    def _runner(self) -> Any:
        return _RUNNER(self.region, check_cluster_every=self.pause_seconds)

    def _ask(self, question: Any, *given: Any, **named: Any) -> Any:
        try:
            return question(*given, **named)
        except (ClientError, BotoCoreError) as error:
            said = " ".join(str(error).split())
            raise Refused(
                f"EMR in {self.region} cannot be asked about the cluster {self.cluster}: {said}; see its name and its"
                " region (DATAFORGE_EMR_CLUSTER, DATAFORGE_EMR_REGION), and the credentials that boto3 finds"
            ) from error


def emr_resource() -> EmrResource:
    """The cluster that DATAFORGE_EMR_CLUSTER and DATAFORGE_EMR_REGION name; without, one that says so when asked."""
    return EmrResource(cluster=given("DATAFORGE_EMR_CLUSTER", ""), region=given("DATAFORGE_EMR_REGION", ""))


def _step(found: Any) -> Step:
    status = found["Status"]
    details = status.get("FailureDetails") or {}
    told = [details.get("Reason"), details.get("Message"), status.get("StateChangeReason", {}).get("Message")]
    return Step(found["Id"], found["Name"], status["State"], "; ".join(part for part in told if part))
