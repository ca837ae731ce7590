"""What stays of a run's last success while a later attempt of the same run goes on, or after it came to nothing.

A run that is cleared in Airflow runs again under the same id. Guarantees that it is then like a re-run under another:
until the new attempt has succeeded, what the run had made keeps its version and producer (invariant I3), and what it
had written is not missing again.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from dataforge.model.run import Belief, status_of
from dataforge.model.state import PartitionStatus, RunState
from dataforge.storage.write import Claim


def kept(present: Sequence[Claim], belief: Belief, before: Iterable[Claim]) -> list[Claim]:
    """The claims that stay beside the present ones of a run. `before` are those of its last success, `belief` what is
    believed of the run now."""
    standing = {(claim.node_kind, claim.node_id, claim.partition): claim for claim in present}
    found: list[Claim] = []
    for claim in before:
        now = standing.get((claim.node_kind, claim.node_id, claim.partition))
        if claim.status is not PartitionStatus.READY or (now is None and claim.node_kind == "task"):
            continue
        if now is not None and now.status is not PartitionStatus.READY:
            found.append(replace(claim, past=True))
        elif now is None:
            found += _unsaid(claim, belief, present[0])
    return found


def _unsaid(claim: Claim, belief: Belief, own: Claim) -> list[Claim]:
    """The claims on a dataset that the last attempt has not named: most platforms name outputs at the end alone. While
    it runs, or has failed, it is taken to write what the success wrote; else that is what is there."""
    status = status_of(belief)
    if status is not PartitionStatus.RUNNING and belief.state is not RunState.FAILED:
        return [claim]
    again = replace(
        claim,
        attempt_id=own.attempt_id,
        status=status,
        belief=belief,
        started_at=own.started_at,
        since=own.since,
        version=None,
        rows=None,
    )
    return [again, replace(claim, past=True)]
