"""`dataforge why`: may this task run for this partition, and if not, why not and whose turn it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dataforge.cli.invocation import Invocation, pass_invocation
from dataforge.cli.opened import opened

if TYPE_CHECKING:
    from dataforge.model.verdict import Reason, Verdict

_TITLES = ("WHY NOT", "NAME", "PARTITION", "STATE", "SINCE (UTC)", "OWNER", "EXPECTED (UTC)")


@click.command()
@click.argument("name")
@click.argument("partition", required=False)
@click.option("--namespace", help="The task's namespace; may be left out where the name is unique.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_invocation
def why(invocation: Invocation, name: str, partition: str | None, namespace: str | None, *, as_json: bool) -> None:
    """Say whether the task NAME may run for PARTITION, with every reason why not.

    Exits with 0 when it may, and with 1 when it may not.
    """
    verdict = _ask(invocation, name, partition or "", namespace)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(verdict))
    else:
        explain(verdict)
    click.get_current_context().exit(0 if verdict.runnable else 1)


def _ask(invocation: Invocation, name: str, partition: str, namespace: str | None) -> Verdict:
    from datetime import UTC, datetime

    from dataforge.ledger.readiness import verdict
    from dataforge.model.question import Named

    with opened(invocation, patient=False) as database:
        asked = Named(name, namespace, partition)
        return verdict(database, invocation.settings.environment, asked, datetime.now(UTC))


def explain(verdict: Verdict) -> None:
    """Prints a verdict for people."""
    from dataforge.cli import table

    click.echo(sentence(verdict))
    for reason in verdict.reasons[1:]:
        if reason.upstream is None or _tells_more(reason):
            click.echo(f"Also: {reason.message}{_details(reason)}.")
    upstream = [reason for reason in verdict.reasons if reason.upstream is not None]
    if upstream:
        click.echo()
        edges = any(_edge(reason) for reason in upstream)
        rows = [(*_row(reason), _edge(reason)) if edges else _row(reason) for reason in upstream]
        table.show((*_TITLES, "BY AN EDGE WITH") if edges else _TITLES, rows)
        for reason in upstream:
            _way_up(reason)
    if verdict.warnings:
        click.echo("\nGood to know:")
        for warning in verdict.warnings:
            click.echo(f"  {warning.message}{_details(warning)}")
            _way_up(warning)
    click.echo(f"\n{_ground(verdict)}")


def _way_up(reason: Reason) -> None:
    """From what is stale up to what changed, a line a step."""
    for step in reason.because:
        known = ", ".join(filter(None, (step.run and f"run {step.run}", step.owner and f"owner: {step.owner}")))
        click.echo(f"    because {step.message}{f' ({known})' if known else ''}")


def _tells_more(reason: Reason) -> bool:
    """Whether the sentence says what the table has no room for: what was reported, why something is held back, the last
    update of a dataset."""
    return reason.code in ("condition_unmet", "upstream_quarantined") or reason.state is None


def _row(reason: Reason) -> tuple[object, ...]:
    from dataforge.cli import table

    name = reason.upstream.name if reason.upstream else None
    what = reason.code.removeprefix("upstream_").replace("_", " ")
    since, expected = table.moment(reason.since), table.moment(reason.expected_at)
    return what, name, reason.partition, reason.state, since, reason.owner, expected


def _edge(reason: Reason) -> str:
    """By which edge it is needed, where that is more than the same partition and a success."""
    mapping = f"mapping {reason.mapping}" if reason.mapping else None
    condition = f"condition {reason.condition}" if reason.condition else None
    return ", ".join(filter(None, (mapping, condition)))


def sentence(verdict: Verdict) -> str:
    """The verdict in a sentence: what is the matter first, then what else there is."""
    subject = f"{verdict.task.name} for {verdict.partition}" if verdict.partition else verdict.task.name
    if verdict.runnable:
        again = ", although its last run failed" if verdict.status != "runnable" else ""
        return f"{subject} may run now{again}."
    first, *others = verdict.reasons
    more = f" (and {len(others)} more)" if others else ""
    return f"{subject} {_LEAD[verdict.status]}: {first.message}{_details(first)}{more}."


_LEAD = {
    "waiting": "has to wait",
    "blocked": "cannot run until somebody acts",
    "running": "need not run now",
    "succeeded": "need not run",
    "skipped": "need not run",
    "failed": "failed and cannot run again yet",
    "upstream_failed": "did not run, and still cannot",
    "unknown": "has no answer",
}


def _details(reason: Reason) -> str:
    """Whose it is and since when, in parentheses, where that is known; of an upstream the table says since when."""
    from dataforge.cli import table

    word = "built" if reason.state == "stale" else "since"  # "changed since (since ...)" would say the wrong thing
    since = f"{word} {table.moment(reason.since)} UTC" if reason.since and reason.upstream is None else None
    owner = f"owner: {reason.owner}" if reason.owner else None
    known = ", ".join(filter(None, (owner, since)))
    return f" ({known})" if known else ""


def _ground(verdict: Verdict) -> str:
    """What the answer rests on."""
    from dataforge.cli import table

    basis = "what was declared" if verdict.basis == "declared" else "what was observed, which nobody has declared"
    seen = ", ".join(f"{source} up to {table.moment(at)}" for source, at in verdict.observed_through.items())
    return f"Rests on {basis}. " + (f"Events seen: {seen} UTC." if seen else "No events seen yet.")
