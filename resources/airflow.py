"""Airflow's REST API (2.x, /api/v1), as far as its tasks are started and watched from elsewhere.

Guarantees that questions about many DAG runs are few requests, that what Airflow has already is never created a second
time, and that each refusal is one line that names Airflow's address, what was wrong, and what to do.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from dagster import ConfigurableResource, InitResourceContext
from pydantic import Field, PrivateAttr

from resources.refused import Refused

PAGE = 100  # items of one answer; Airflow's own bound unless its administrator has raised it
MOST_NAMED = 200  # DAG runs named in one question
_SECONDS = 30.0
_Item = TypeVar("_Item", bound=msgspec.Struct)


class DagRun(msgspec.Struct, frozen=True):
    """One run of a DAG, for one data interval."""

    dag_run_id: str
    logical_date: datetime
    state: str
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None


class TaskInstance(msgspec.Struct, frozen=True):
    """One task of a DAG run, or one instance of a mapped one. Without a state it waits to be scheduled."""

    dag_run_id: str
    map_index: int
    try_number: int
    state: str | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None


class _DagRuns(msgspec.Struct):
    dag_runs: list[DagRun]


class _TaskInstances(msgspec.Struct):
    task_instances: list[TaskInstance]


class _Dag(msgspec.Struct):
    is_paused: bool | None
    is_active: bool | None


class AirflowResource(ConfigurableResource[Any]):
    """An Airflow's REST API, with basic authentication or a token; nothing connects before the first question."""

    url: str = Field(default="", description="Airflow's address, such as http://127.0.0.1:8080.")
    user: str = Field(default="", description="Who asks, by basic authentication.")
    password: str = Field(default="", description="The user's password.")
    token: str = Field(default="", description="A bearer token, in place of user and password.")

    _http: httpx.Client | None = PrivateAttr(default=None)

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        """Closes what was opened."""
        if self._http is not None:
            self._http.close()
        self._http = None

    def require(self, dag_id: str, task_id: str) -> None:
        """Raises Refused unless the DAG has the task and would run it now."""
        dag = self._one(f"/dags/{_part(dag_id)}", _Dag, f"has no DAG {dag_id}: see its list of DAGs and import errors")
        if not dag.is_active:
            raise Refused(f"Airflow at {self.url} has the DAG {dag_id} no more: its file is gone, or no longer read")
        if dag.is_paused:
            raise Refused(
                f"the DAG {dag_id} is paused in Airflow at {self.url}, so nothing of it would run: unpause it there"
                f" (`airflow dags unpause {dag_id}`)"
            )
        path = f"/dags/{_part(dag_id)}/tasks/{_part(task_id)}"
        self._one(path, msgspec.Struct, f"has no task {task_id} in the DAG {dag_id}: name one that it has")

    def dag_runs(self, dag_id: str, first: datetime, last: datetime) -> Iterator[DagRun]:
        """The runs whose logical date is from `first` to `last`, the earliest first."""
        question = {
            "dag_ids": [dag_id],
            "execution_date_gte": first.isoformat(),
            "execution_date_lte": last.isoformat(),
            "order_by": "execution_date",
        }
        yield from self._listed("/dags/~/dagRuns/list", question, _DagRuns, "dag_runs")

    def instances(self, dag_id: str, task_id: str, runs: Sequence[str]) -> Iterator[TaskInstance]:
        """The instances of one task in these DAG runs: of one that is mapped several in each."""
        for begin in range(0, len(runs), MOST_NAMED):
            named = [*runs[begin : begin + MOST_NAMED]]
            question = {"dag_ids": [dag_id], "task_ids": [task_id], "dag_run_ids": named}
            path = "/dags/~/dagRuns/~/taskInstances/list"
            yield from self._listed(path, question, _TaskInstances, "task_instances")

    def trigger(self, dag_id: str, run_id: str, start: datetime, end: datetime, note: str) -> bool:
        """Creates a DAG run for the data interval [start, end). False where there is one of that logical date or id."""
        body = {
            "dag_run_id": run_id,
            "logical_date": start.isoformat(),
            "data_interval_start": start.isoformat(),
            "data_interval_end": end.isoformat(),
            "note": note,
        }
        response = self._answer("POST", f"/dags/{_part(dag_id)}/dagRuns", body)
        if response.status_code == httpx.codes.CONFLICT:
            return False
        self._require_success(response, f"a run of {dag_id} for {start:%Y-%m-%d %H:%M}")
        return True

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Lets Airflow run a task of a DAG run again, with all of its mapped instances, and nothing else of it."""
        body = {
            "dry_run": False,
            "task_ids": [task_id],
            "dag_run_id": run_id,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        response = self._answer("POST", f"/dags/{_part(dag_id)}/clearTaskInstances", body)
        self._require_success(response, f"to clear {task_id} in {run_id}")

    def page(self, dag_id: str, task_id: str, run_id: str) -> str:
        """Where Airflow shows the task of a DAG run."""
        named = httpx.QueryParams({"dag_run_id": run_id, "task_id": task_id})
        return f"{self.url.rstrip('/')}/dags/{_part(dag_id)}/grid?{named}"

    def _listed(self, path: str, question: Mapping[str, Any], kind: type[Any], field: str) -> Iterator[Any]:
        offset = 0
        while True:
            response = self._answer("POST", path, {**question, "page_limit": PAGE, "page_offset": offset})
            self._require_success(response, "a list")
            items = getattr(self._decoded(response, kind), field)
            yield from items
            if len(items) < PAGE:
                return
            offset += PAGE

    def _one(self, path: str, kind: type[_Item], absent: str) -> _Item:
        response = self._answer("GET", path, None)
        if response.status_code == httpx.codes.NOT_FOUND:
            raise Refused(f"Airflow at {self.url} {absent}")
        self._require_success(response, path)
        return self._decoded(response, kind)

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        client = self._client()
        try:
            response = client.request(method, f"{self.url.rstrip('/')}/api/v1{path}", json=body)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise Refused(
                f"cannot reach Airflow at {self.url} ({reason}): see that its webserver runs, or name another address"
                " in DATAFORGE_AIRFLOW_URL"
            ) from error
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            who = f"the user {self.user}" if self.user else "whoever asks without a user or token"
            raise Refused(
                f"Airflow at {self.url} refuses {who} ({response.status_code}): set DATAFORGE_AIRFLOW_USER and"
                " DATAFORGE_AIRFLOW_PASSWORD, or DATAFORGE_AIRFLOW_TOKEN, for one who may run DAGs, and see that its"
                " REST API takes them (auth_backends)"
            )
        return response

    def _client(self) -> httpx.Client:
        if not self.url:
            raise Refused(
                "no Airflow is named: set DATAFORGE_AIRFLOW_URL to its address, such as http://127.0.0.1:8080, and"
                " DATAFORGE_AIRFLOW_USER and DATAFORGE_AIRFLOW_PASSWORD"
            )
        if self._http is None:
            headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            basic = httpx.BasicAuth(self.user, self.password) if self.user and not self.token else None
            self._http = httpx.Client(auth=basic, headers=headers, timeout=_SECONDS)
        return self._http

    def _require_success(self, response: httpx.Response, wanted: str) -> None:
        if not response.is_success:
            raise Refused(f"Airflow at {self.url} refuses {wanted} ({response.status_code}): {_why(response)}")

    def _decoded(self, response: httpx.Response, kind: type[_Item]) -> _Item:
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.MsgspecError as error:
            raise Refused(
                f"what answers at {self.url} is not the REST API of an Airflow 2 ({error}): name its webserver in"
                " DATAFORGE_AIRFLOW_URL"
            ) from error


def _part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def _why(response: httpx.Response) -> str:
    """What Airflow says, in one line."""
    try:
        said = response.json()
    except ValueError:
        said = {}
    told = said if isinstance(said, dict) else {}
    text = str(told.get("detail") or told.get("title") or response.reason_phrase)
    return " ".join(text.split())[:300]
