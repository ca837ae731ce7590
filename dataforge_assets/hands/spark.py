"""Spark applications, submitted from Dagster through Pipes: one for each partition of a run, a few at a time.

Spark says COMPLETE of what failed as well, so the hand claims, and says how each attempt ended by what `spark-submit`
ended with. Guarantees that an application is named for task, partition and attempt, and that none is submitted while
another of its partition still has a driver on this machine. A driver here ends with the run that watches it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    MaterializeResult,
    PipesTempFileContextInjector,
    PipesTempFileMessageReader,
    open_pipes_session,
)
from dagster._core.pipes.context import PipesSession

from dataforge_assets.hands.admission import orders_of
from dataforge_assets.hands.attempt import Attempt, attempts_of, stem
from dataforge_assets.hands.claims import Claims
from dataforge_assets.hands.launch import BY_CLAIM, launched, task_named
from dataforge_assets.hands.wave import Admission, End, Later
from resources.identity import dataset_of
from resources.spark import SparkResource
from resources.terms import NOTHING_SAID, Declared

AT_ONCE = 2  # drivers on this machine, each a JVM of a gigabyte or so
_ENDING_SECONDS = 20
_RAISED = re.compile(r"^[\w.]*(?:Error|Exception)\b.*")
Arguments = Callable[[Attempt], Sequence[str]]


@dataclass(frozen=True)
class Application:
    """What is submitted: a file, its arguments for one attempt, and properties of its own."""

    file: str
    arguments: Arguments
    conf: Mapping[str, str]
    at_once: int


def spark_submit(
    spec: AssetSpec,
    file: str,
    arguments: Arguments = lambda _: (),
    *,
    conf: Mapping[str, str] | None = None,
    at_once: int = AT_ONCE,
    terms: Declared = NOTHING_SAID,
) -> AssetsDefinition:
    """The asset that an application makes. Through Dagster Pipes it learns which attempt it is of (the extras
    `partition`, `start`, `end`, `attempt`), and may report what it made."""
    task, application = task_named(spec), Application(file, arguments, conf or {}, at_once)

    def grasp(context: AssetExecutionContext) -> SparkSubmits:
        claims = Claims(orders_of(context, task), dataset_of(spec.metadata))
        return SparkSubmits(context, claims, attempts_of(spec, task), application)

    return launched(spec, grasp, told_by=BY_CLAIM, resource="spark", terms=terms)


class SparkSubmits:
    """The hand on the applications of one task, for one wave."""

    def __init__(
        self,
        context: AssetExecutionContext,
        claims: Claims,
        attempts: Callable[[str, int], Attempt],
        application: Application,
    ) -> None:
        self._context, self._claims, self._attempts, self._application = context, claims, attempts, application
        self._spark: SparkResource = context.resources.spark
        self._running: dict[str, _Driver] = {}

    def admit(self, keys: Sequence[str], room: int) -> dict[str, Admission]:
        """Claims what nobody still runs here, as far as there is room for drivers."""
        self._spark.require()
        alive = {name.rpartition("#")[0]: pid for name, pid in self._spark.drivers().items()}
        left = {key: alive.get(stem(self._attempts(key, 0).task, key)) for key in keys}
        waits: dict[str, Admission] = {
            key: Later(f"a driver of it still runs here, as process {pid}: it is waited for, or end it", by_itself=True)
            for key, pid in left.items()
            if pid is not None
        }
        room = min(room, self._application.at_once - len(self._running))
        free = [key for key in keys if key not in waits]
        return {**waits, **(self._claims.admit(free, room) if room > 0 else {})}

    def start(self, keys: Sequence[str]) -> dict[str, End]:
        """Submits an application for each."""
        for key in keys:
            attempt = self._attempts(key, self._claims.attempt(key))
            words = self._application.arguments(attempt)
            command = self._spark.command(attempt.name, self._application.file, words, self._application.conf)
            self._running[key] = _Driver(self._context, attempt, command)
        return {}

    def ended(self, keys: Sequence[str]) -> dict[str, End]:
        """Those whose spark-submit has ended, by what it ended with."""
        ends: dict[str, End] = {}
        for key, lost in self._claims.beat().items():
            if key in self._running:
                self._running.pop(key).end()
                ends[key] = lost
        drivers = {key: self._running[key] for key in keys if key in self._running}
        over = {key: end for key, driver in drivers.items() if (end := driver.outcome()) is not None}
        ends |= self._claims.end(over)
        for key in over:
            del self._running[key]
        return ends

    def leave(self, keys: Sequence[str], why: str) -> None:
        """Ends the drivers, which nobody would watch any more, and gives their claims back."""
        for key in keys:
            if (driver := self._running.pop(key, None)) is not None:
                driver.end()
        self._claims.give_back(keys, f"{why}; its driver on this machine was ended")


class _Driver:
    """One spark-submit that runs, with its session of Dagster Pipes."""

    def __init__(self, context: AssetExecutionContext, attempt: Attempt, command: Sequence[str]) -> None:
        self._held = ExitStack()
        self._log = Path(self._held.enter_context(TemporaryDirectory(prefix="spark-submit-"))) / "log"
        told = {"partition": attempt.partition, "attempt": attempt.number, "name": attempt.name}
        window = {"start": attempt.start, "end": attempt.end}
        extras = told | {name: at.isoformat() for name, at in window.items() if at is not None}
        step = context.op_execution_context  # of the other kind of context Pipes asks what is deprecated there
        self._session: PipesSession = self._held.enter_context(
            open_pipes_session(step, PipesTempFileContextInjector(), PipesTempFileMessageReader(), extras)
        )
        environ = {**os.environ, **self._session.get_bootstrap_env_vars()}
        with self._log.open("wb") as log:  # what a Python application raises Spark writes to stdout
            self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT)
        self._end: End | None = None

    def outcome(self) -> End | None:
        """How it ended; None while it runs."""
        if self._end is None and (code := self._process.poll()) is not None:
            self._end = self._closed(code)
        return self._end

    def _closed(self, code: int) -> End:
        log = self._log.read_text(encoding="utf-8", errors="replace")
        sys.stdout.write(log)  # into the logs of the step
        self._held.close()  # by now Pipes has read all that was reported
        if code:
            return End(False, f"spark-submit ended with {code}: {_last(log)}")
        metadata: dict[str, Any] = {}
        for result in self._session.get_reported_results():
            metadata |= (result.metadata or {}) if isinstance(result, MaterializeResult) else {}
        return End(True, "spark-submit ended well", metadata=metadata)

    def end(self) -> None:
        """Ends it, at once where it does not by itself."""
        self._process.terminate()
        try:
            self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._held.close()


def _last(log: str) -> str:
    """What was raised at last, else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    raised = [line for line in lines if _RAISED.match(line)]
    return (raised or lines or ["it says nothing"])[-1][:500]
