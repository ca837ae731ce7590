"""The twin of what does not serve, by docs/evidence.md: what is only inferred satisfies nothing, and is told apart from
what has not ended and from what ended otherwise."""

from __future__ import annotations

from tests.twin.fold import State


def unserving(state: State, outcome: str | None, wanted: tuple[str | None, ...]) -> str:
    """The code of an upstream that is in the way, by how it ended, as far as anything tells."""
    if outcome is None:
        return "upstream_unconfirmed" if state.state == "unknown" else "upstream_running"
    if outcome in wanted:
        return "condition_unmet" if state.settled else "upstream_unconfirmed"
    return unwanted_as(outcome)


def unwanted_as(outcome: str) -> str:
    """The code of an outcome that is not asked for."""
    return {"succeeded": "condition_unmet", "skipped": "upstream_skipped"}.get(outcome, "upstream_failed")
