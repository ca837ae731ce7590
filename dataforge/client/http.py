"""The ledger over HTTP, on connections that are kept alive between the questions."""

from __future__ import annotations

import gzip
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec

from dataforge.client.refusal import REMEDY, error_of, no_ledger
from dataforge.client.request import (
    ChangesQuestion,
    GraphQuestion,
    LatestQuestion,
    NewestQuestion,
    WakeupsQuestion,
    backfill_id,
    batches,
    checked,
    claim_id,
    encoded,
    filtered,
    given,
    graph_question,
    sound,
    source_name,
)
from dataforge.model.arrival import ArrivalQuestion, Arrivals
from dataforge.model.backfill import (
    BackfillDetail,
    BackfillFilter,
    Backfilling,
    BackfillItem,
    ItemFilter,
    Plan,
    PlanItem,
    Verb,
)
from dataforge.model.catalog import DatasetItem, PartitionPage, RejectItem, RunItem, TaskItem, UpdateItem
from dataforge.model.change import Change, Changes, Newest
from dataforge.model.claim import (
    DONE,
    AllEnded,
    Beaten,
    Beating,
    ClaimedEach,
    Claiming,
    ClaimingEach,
    ClaimingTogether,
    Ended,
    EndOf,
    Granted,
    Outcome,
    SayingEnds,
    Together,
)
from dataforge.model.declaration import Declared
from dataforge.model.errors import SettingsError, Unreachable
from dataforge.model.filter import (
    DatasetFilter,
    FindingFilter,
    Paging,
    PartitionFilter,
    RejectFilter,
    RunFilter,
    TaskFilter,
    UpdateFilter,
)
from dataforge.model.finding import Finding
from dataforge.model.freshness import MOST_ASKED, FreshnessAnswers, FreshnessQuestion
from dataforge.model.lineage import Direction, Graph, PartitionGraph
from dataforge.model.listing import Page
from dataforge.model.mirror import MirrorItem, MirrorReport, Mirrors
from dataforge.model.partition_set import KeyFilter, SetKey
from dataforge.model.question import Answers, Named
from dataforge.model.recorded import BatchAnswer, Recorded, joined, joined_batches
from dataforge.model.reference import DatasetRef, NodeKind
from dataforge.model.rerun import Downstream, Rerunning, Reruns
from dataforge.model.state import PartitionStatus
from dataforge.model.verdict import Code, Unanswered, Verdict
from dataforge.model.wakeup import Queue, Wakeups

_CONNECT_SECONDS = 5.0
# What a lost connection is answered with: the first may only have been idle for too long, the second meets a server
# that starts again. A question that takes too long is not repeated, since it would take as long again.
_PAUSES = (0.0, 0.5)
_LOST = (httpx.NetworkError, httpx.RemoteProtocolError)
_COMPRESSED_FROM = 8_192  # bytes; below, compressing costs more than it spares
_JSON = "application/json"
_Answer = TypeVar("_Answer")


class _Item(Verdict, frozen=True, kw_only=True):
    """An item of a batch, as it is written: a verdict, or with a code what stands for one."""

    code: Code | None = None
    candidates: tuple[str, ...] = ()


class _Answers(msgspec.Struct):
    items: tuple[_Item, ...]
    decided_at: datetime
    graph_version: int


class _Latest(msgspec.Struct):
    items: tuple[Change, ...]


class Client:
    """The verbs of `Ledger`, each a request to the server at `url`.

    Nothing connects before the first verb. It may be used by several threads at once.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8700",
        environment: str = "dev",
        api_key: str | None = None,
        *,
        patience: float = 60.0,  # seconds for an answer, before the server counts as unreachable
        manifest_patience: float = 60.0,  # the same for a manifest, which may be of thousands of tasks
    ) -> None:
        self.url = _checked(url)
        timeout = httpx.Timeout(patience, connect=_CONNECT_SECONDS)
        self._http = httpx.Client(timeout=timeout, headers=_authorization(api_key))
        self._manifest_timeout = httpx.Timeout(manifest_patience, connect=_CONNECT_SECONDS)
        self._base = f"{self.url}/api/v1/{quote(environment, safe='')}"

    def record(self, events: Sequence[Mapping[str, Any]]) -> Recorded:
        return joined(self._send("POST", "/events", _array(batch), Recorded) for batch in batches(events))

    def lineage(self, events: Sequence[Mapping[str, Any]]) -> BatchAnswer:
        return joined_batches(
            self._send("POST", "/lineage/batch", _array(batch), BatchAnswer) for batch in batches(events)
        )

    def readiness(self, questions: Sequence[Named]) -> Answers:
        asked = [
            {"task": {"name": each.name, "namespace": each.namespace}, "partition": each.partition}
            for each in checked(questions, Named)
        ]
        return _answers(self._send("POST", "/readiness", encoded(asked, "$"), _Answers))

    def freshness(self, questions: Sequence[FreshnessQuestion]) -> FreshnessAnswers:
        asked = encoded(checked(questions, FreshnessQuestion, MOST_ASKED), "$")
        return self._send("POST", "/freshness", asked, FreshnessAnswers)

    def arrivals(self, questions: Sequence[ArrivalQuestion]) -> Arrivals:
        return self._send("POST", "/arrivals", encoded(checked(questions, ArrivalQuestion), "$"), Arrivals)

    def changes(self, after: str | None = None, limit: int = 100, kind: NodeKind | None = None) -> Changes:
        return self._get("/changes", sound(ChangesQuestion(after, limit, kind)), Changes)

    def latest(
        self, datasets: Sequence[DatasetRef], each: int = 30, statuses: Sequence[PartitionStatus] = ()
    ) -> tuple[Change, ...]:
        asked = encoded(sound(LatestQuestion(tuple(datasets), each, tuple(statuses))), "$")
        return self._send("POST", "/changes/latest", asked, _Latest).items

    def newest(
        self, datasets: Sequence[DatasetRef], after: str | None = None, before: str | None = None, limit: int = 100
    ) -> Newest:
        asked = encoded(sound(NewestQuestion(tuple(datasets), after, before, limit)), "$")
        return self._send("POST", "/changes/newest", asked, Newest)

    def tell_mirror(self, name: str, shown_through: datetime, waiting: int = 0) -> MirrorItem:
        report = sound(MirrorReport(shown_through=shown_through, waiting=waiting))
        return self._send("PUT", f"/mirrors/{quote(name, safe='')}", encoded(report, "$"), MirrorItem)

    def mirrors(self) -> Mirrors:
        return self._get("/mirrors", None, Mirrors)

    def tasks(self, wanted: TaskFilter) -> Page[TaskItem]:
        return self._list("/tasks", wanted, Page[TaskItem])

    def datasets(self, wanted: DatasetFilter) -> Page[DatasetItem]:
        return self._list("/datasets", wanted, Page[DatasetItem])

    def runs(self, wanted: RunFilter) -> Page[RunItem]:
        return self._list("/runs", wanted, Page[RunItem])

    def partitions(self, wanted: PartitionFilter) -> PartitionPage:
        return self._list("/partitions", wanted, PartitionPage)

    def updates(self, wanted: UpdateFilter) -> Page[UpdateItem]:
        return self._list("/updates", wanted, Page[UpdateItem])

    def rejects(self, wanted: RejectFilter) -> Page[RejectItem]:
        return self._list("/rejects", wanted, Page[RejectItem])

    def findings(self, wanted: FindingFilter) -> Page[Finding]:
        return self._list("/findings", wanted, Page[Finding])

    def set_keys(self, name: str, wanted: KeyFilter) -> Page[SetKey]:
        return self._list(f"/partition-sets/{quote(name, safe='')}", wanted, Page[SetKey])

    def graph(
        self,
        name: str,
        namespace: str | None = None,
        direction: Direction = "both",
        depth: int | None = None,
        kind: NodeKind | None = None,
        at: datetime | None = None,
        partition: str | None = None,
    ) -> Graph | PartitionGraph:
        asked = graph_question(GraphQuestion(name, namespace, direction, depth, kind, at, partition))
        return self._get("/graph", asked, Graph) if partition is None else self._get("/graph", asked, PartitionGraph)

    def declare(self, source: str, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Declared:
        path = f"/definitions/{quote(source_name(source), safe='')}"
        parameters = {"dry_run": _text(dry_run)}
        return self._send("PUT", path, encoded(manifest, "$"), Declared, parameters, self._manifest_timeout)

    def rerun(
        self,
        name: str,
        partition: str = "",
        *,
        reason: str,
        downstream: Downstream = "none",
        by: str = "unknown",
        namespace: str | None = None,
    ) -> Reruns:
        wanted = Rerunning(
            name=name, namespace=namespace, partition=partition, reason=reason, downstream=downstream, by=by
        )
        return self._send("POST", "/reruns", encoded(_of_task(given(sound(wanted))), "$"), Reruns)

    def plan_backfill(self, wanted: Backfilling) -> Plan:
        return self._backfill(wanted, dry_run=True)

    def backfill(self, wanted: Backfilling) -> Plan:
        asked = sound(wanted)
        return self._backfill(msgspec.structs.replace(asked, id=asked.id or str(uuid4())), dry_run=False)

    def _backfill(self, wanted: Backfilling, *, dry_run: bool) -> Plan:
        body = {**given(sound(wanted)), "dry_run": dry_run}
        return self._send("POST", "/backfills", encoded(body, "$"), Plan)

    def backfills(self, wanted: BackfillFilter) -> Page[BackfillItem]:
        return self._list("/backfills", wanted, Page[BackfillItem])

    def backfill_detail(self, backfill: str) -> BackfillDetail:
        return self._get(f"/backfills/{backfill_id(backfill)}", None, BackfillDetail)

    def backfill_partitions(self, backfill: str, wanted: ItemFilter) -> Page[PlanItem]:
        return self._list(f"/backfills/{backfill_id(backfill)}/partitions", wanted, Page[PlanItem])

    def change_backfill(self, backfill: str, verb: Verb, *, by: str = "unknown", reason: str = "") -> BackfillDetail:
        body = encoded({"by": by, "reason": reason}, "$")
        return self._send("POST", f"/backfills/{backfill_id(backfill)}/{verb}", body, BackfillDetail)

    def wakeups(self, limit: int = 100, queue: Queue = "all") -> Wakeups:
        return self._get("/wakeups", WakeupsQuestion(limit, queue), Wakeups)

    def claim(
        self, name: str, partition: str = "", *, worker: str, lease_seconds: int = 300, namespace: str | None = None
    ) -> Granted:
        asked = Claiming(
            name=name, namespace=namespace, partition=partition, worker=worker, lease_seconds=lease_seconds
        )
        body = _of_task(given(sound(asked)))
        body["claim"] = str(uuid4())  # under which it is asked again where the answer is lost
        return self._send("POST", "/claims", encoded(body, "$"), Granted)

    def heartbeat(self, claim: str, lease_seconds: int = 300) -> Granted:
        return self._of_claim(claim, "heartbeat", {"lease_seconds": lease_seconds}, Granted)

    def complete(self, claim: str, outcome: Outcome = DONE) -> Ended:
        return self._of_claim(claim, "complete", msgspec.to_builtins(sound(outcome)), Ended)

    def fail(self, claim: str, error: str | None = None) -> Ended:
        return self._of_claim(claim, "fail", {"error": error}, Ended)

    def release(self, claim: str, error: str | None = None) -> Ended:
        return self._of_claim(claim, "release", {"error": error}, Ended)

    def claim_together(self, wanted: ClaimingTogether) -> Together:
        return self._send("POST", "/claims/together", _of_group(wanted), Together)

    def claim_each(self, wanted: ClaimingEach) -> ClaimedEach:
        return self._send("POST", "/claims/each", _of_group(wanted), ClaimedEach)

    def heartbeat_all(self, claims: Sequence[str], lease_seconds: int = 300) -> Beaten:
        asked = sound(Beating(claims=tuple(claims), lease_seconds=lease_seconds))
        return self._send("POST", "/claims/heartbeat", encoded(given(asked), "$"), Beaten)

    def end_all(self, ends: Sequence[EndOf]) -> AllEnded:
        said = sound(SayingEnds(ends=tuple(ends)))
        return self._send("POST", "/claims/end", encoded(given(said), "$"), AllEnded)

    def _of_claim(self, claim: str, verb: str, said: Mapping[str, Any], kind: type[_Answer]) -> _Answer:
        return self._send("POST", f"/claims/{claim_id(claim)}/{verb}", encoded(said, "$"), kind)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _list(self, path: str, wanted: Paging, kind: type[_Answer]) -> _Answer:
        return self._get(path, filtered(wanted), kind)

    def _get(self, path: str, question: msgspec.Struct | None, kind: type[_Answer]) -> _Answer:
        parameters = {name: _text(value) for name, value in given(question).items()} if question is not None else {}
        return self._ask(self._http.build_request("GET", self._base + path, params=parameters), kind)

    def _send(
        self,
        method: str,
        path: str,
        body: bytes,
        kind: type[_Answer],
        parameters: Mapping[str, str] | None = None,
        timeout: httpx.Timeout | None = None,
    ) -> _Answer:
        headers = {"Content-Type": _JSON}
        if len(body) >= _COMPRESSED_FROM:
            body, headers["Content-Encoding"] = gzip.compress(body, compresslevel=1), "gzip"
        url = self._base + path
        request = self._http.build_request(
            method, url, params=parameters, content=body, headers=headers, timeout=timeout or self._http.timeout
        )
        return self._ask(request, kind)

    def _ask(self, request: httpx.Request, kind: type[_Answer]) -> _Answer:
        response = self._answer(request)
        if not response.is_success:
            raise error_of(response, self.url)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise no_ledger(self.url, str(error)) from None

    def _answer(self, request: httpx.Request) -> httpx.Response:
        """The answer, of whatever status. Every verb may be repeated, and is where the connection was lost."""
        for pause in (*_PAUSES, None):
            try:
                return self._http.send(request)
            except httpx.TimeoutException as error:
                limit = request.extensions["timeout"]["connect" if isinstance(error, httpx.ConnectTimeout) else "read"]
                raise Unreachable(f"the ledger at {self.url} does not answer within {limit:g} s; {REMEDY}") from error
            except httpx.DecodingError as error:
                raise no_ledger(self.url, _reason(error)) from error
            except httpx.TransportError as error:
                if pause is None or not isinstance(error, _LOST):
                    raise Unreachable(f"cannot reach the ledger at {self.url} ({_reason(error)}); {REMEDY}") from error
                time.sleep(pause)
        raise AssertionError("the last time is answered, or raises")


def _checked(url: str) -> str:
    """The URL of a server, without a slash at its end."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise SettingsError("the ledger's URL", url, "one such as http://127.0.0.1:8700")
    return url.rstrip("/")


def _authorization(api_key: str | None) -> dict[str, str]:
    """The header with the key, without what a file or a secret's store left around it. A key that no header can hold
    is refused here, where it is not shown: the library's own error would hold it."""
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise SettingsError("the API key", "***", "printable ASCII characters")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _of_group(wanted: ClaimingTogether | ClaimingEach) -> bytes:
    """Its body, with an id for each, under which it is asked again where the answer is lost."""
    body = given(sound(wanted))
    body["partitions"] = [_of_task({**given(each), "claim": each.claim or str(uuid4())}) for each in wanted.partitions]
    return encoded(body, "$")


def _of_task(body: dict[str, Any]) -> dict[str, Any]:
    """The body with its task as the API names it."""
    task = {"name": body.pop("name"), "namespace": body.pop("namespace", None)}
    return {"task": task, **body}


def _array(bodies: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(bodies) + b"]"


def _text(value: object) -> str:
    """A value as a query parameter."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answers(found: _Answers) -> Answers:
    return Answers(tuple(map(_verdict, found.items)), found.decided_at, found.graph_version)


def _verdict(item: _Item) -> Verdict:
    """The item as the kind that it was before it was written."""
    fields = {name: getattr(item, name) for name in Verdict.__struct_fields__}
    if item.code is None:
        return Verdict(**fields)
    return Unanswered(**fields, code=item.code, candidates=item.candidates)


def _reason(error: Exception) -> str:
    """What went wrong, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
