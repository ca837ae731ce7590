"""`dataforge claim`: take a partition of a task for a time, run a command under it, say how it ended."""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from os import getpid
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from dataforge.cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from dataforge.model.claim import Ended, Granted, Said

_BEATS = 3  # in the time of a lease, so that one that is lost does no harm


@click.command()
@click.argument("name", required=False)
@click.argument("partition", required=False)
@click.option("--namespace", help="The task's namespace; may be left out where the name is unique.")
@click.option("--worker", help="Who claims (default: this host and process).")
@click.option(
    "--lease", "lease_seconds", type=click.IntRange(1, 86_400), default=300, show_default=True, help="Seconds."
)
@click.option(
    "--run", "command", metavar="COMMAND", help="Run a command while the lease is kept, and say how it ended."
)
@click.option("--heartbeat", metavar="CLAIM", help="Extend the lease of a claim, in place of claiming.")
@click.option("--complete", metavar="CLAIM", help="Say that the attempt of a claim has succeeded.")
@click.option("--fail", metavar="CLAIM", help="Say that it has failed.")
@click.option("--release", metavar="CLAIM", help="Give it back unfinished.")
@click.option("--error", metavar="TEXT", help="With --fail and --release: what went wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_invocation
def claim(
    invocation: Invocation,
    /,
    name: str | None,
    partition: str | None,
    command: str | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Take a partition of a task for a time, and say how its run ended.

    Claims the task NAME for PARTITION, or goes on with a claim, and prints it. With --run the command is run under it:
    the claim is completed where the command exits with 0 and failed where it does not, and the lease is extended
    meanwhile; where it is lost, the command is stopped. Exits with 1 where the partition may not run now, or a claim is
    no longer its worker's.
    """
    verbs = {verb: options[verb] for verb in ("heartbeat", "complete", "fail", "release") if options[verb] is not None}
    if len(verbs) + (name is not None) != 1:
        raise click.UsageError("name a task to claim, or one of --heartbeat, --complete, --fail and --release")
    if command is not None and name is None:
        raise click.UsageError("--run goes with a task to claim")
    desk = _Desk(invocation)
    try:
        if name is None:
            _show(_go_on(desk, *verbs.popitem(), options["lease_seconds"], options["error"]), as_json=as_json)
            return
        granted = _claim(desk, name, partition or "", options)
        if command is None:
            _show(granted, as_json=as_json)
            return
        code = _run(desk, granted, shlex.split(command), options["lease_seconds"])
    finally:
        desk.close()
    click.get_current_context().exit(code)


class _Desk:
    """Claims in the invocation's environment, by this machine's clock."""

    def __init__(self, invocation: Invocation) -> None:
        from dataforge.ingest import redaction
        from dataforge.local.postgres import database_url
        from dataforge.storage.database import Database

        settings = invocation.settings
        self._trusted = settings.trusted
        self._environment = settings.environment
        self._redaction = redaction.load(settings.redaction)
        self._database = Database(database_url(settings), max_size=2)

    def claim(self, name: str, namespace: str | None, partition: str, worker: str, seconds: int) -> Granted:
        from dataforge.dispatch import claim as dispatch
        from dataforge.model.claim import Claiming

        wanted = Claiming(name=name, namespace=namespace, partition=partition, worker=worker, lease_seconds=seconds)
        return dispatch.claim(
            self._database,
            self._environment,
            wanted,
            datetime.now(UTC),
            trusted=self._trusted,
            redaction=self._redaction,
        )

    def heartbeat(self, claim: str, seconds: int) -> Granted:
        from dataforge.dispatch import lease as leases

        return leases.beat(self._database, self._environment, _id(claim), seconds, datetime.now(UTC))

    def end(self, claim: str, ending: Said, error: str | None = None) -> Ended:
        from dataforge.dispatch import lease as leases
        from dataforge.model.claim import Outcome

        now, outcome = datetime.now(UTC), Outcome(error=error)
        return leases.end(
            self._database, self._environment, _id(claim), ending, outcome, now, redaction=self._redaction
        )

    def close(self) -> None:
        self._database.close()


def _id(claim: str) -> UUID:
    try:
        return UUID(claim)
    except ValueError:
        raise click.BadParameter(f"{claim!r} is no claim: a claim prints the UUID that it is granted under") from None


def _claim(desk: _Desk, name: str, partition: str, options: Mapping[str, Any]) -> Granted:
    from dataforge.cli.why import explain
    from dataforge.model.claim import ClaimRefused

    worker = options["worker"] or f"{socket.gethostname()}:{getpid()}"
    try:
        return desk.claim(name, options["namespace"], partition, worker, options["lease_seconds"])
    except ClaimRefused as refused:
        click.echo(f"not granted: {refused}", err=True)
        explain(refused.verdict)
        click.get_current_context().exit(1)


_ENDINGS: dict[str, Said] = {"complete": "completed", "fail": "failed", "release": "released"}


def _go_on(desk: _Desk, verb: str, claim_id: str, seconds: int, error: str | None) -> Granted | Ended:
    from dataforge.model.claim import Fenced

    try:
        return desk.heartbeat(claim_id, seconds) if verb == "heartbeat" else desk.end(claim_id, _ENDINGS[verb], error)
    except Fenced as fenced:
        click.echo(f"refused: {fenced}", err=True)
        click.get_current_context().exit(1)


def _show(found: Granted | Ended, *, as_json: bool) -> None:
    from dataforge.cli import table
    from dataforge.model.claim import Ended

    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(found))
    elif isinstance(found, Ended):
        click.echo(f"attempt {found.attempt} of {found.claim} ended at {table.moment(found.ended_at)} UTC")
    else:
        click.echo(f"{found.claim}  attempt {found.attempt}, until {found.expires_at:%Y-%m-%d %H:%M:%S} UTC")


def _run(desk: _Desk, granted: Granted, command: list[str], lease_seconds: int) -> int:
    """The exit code of the command that was run under the claim; 1 where the lease was lost."""
    from dataforge.model.claim import Fenced

    try:
        process = subprocess.Popen(command)
    except (OSError, IndexError) as problem:
        desk.end(granted.claim, "released", str(problem))
        raise click.UsageError(f"cannot run {command[0] if command else 'nothing'}: {problem}") from problem
    try:
        while (code := _waited(process, lease_seconds / _BEATS)) is None:
            desk.heartbeat(granted.claim, lease_seconds)
        if code == 0:
            desk.end(granted.claim, "completed")
        else:
            desk.end(granted.claim, "failed", f"{command[0]} exited with {code}")
    except Fenced as fenced:
        _stop(process)
        click.echo(f"the lease was lost, and the command was stopped: {fenced}", err=True)
        return 1
    except KeyboardInterrupt:
        _stop(process)
        desk.end(granted.claim, "released", "interrupted")
        raise
    return code


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def _waited(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
