"""The twin of trigger rules, from Airflow 2.11's documentation: what each says of the states of the upstream tasks.

A state is None as long as the upstream has not ended for good. Canceled ends a run as neither success, skip nor failure
of Airflow's, so that of Airflow's rules only those are met by it that ask for an end.
"""

from __future__ import annotations

from collections.abc import Sequence

FINAL = ("succeeded", "skipped", "canceled", "upstream_failed", "failed")
FAILED = ("failed", "upstream_failed")
# An edge with a condition of its own is judged by itself.
CONDITIONS = {
    "succeeded": ("succeeded",),
    "failed": ("failed", "upstream_failed", "canceled"),
    "skipped": ("skipped",),
    "not_failed": ("succeeded", "skipped"),
    "finished": FINAL,
}
# Which state of an upstream is none of those that a rule waits for or breaks on.
WANTED: dict[str, tuple[str | None, ...]] = {
    "all_success": ("succeeded",),
    "all_failed": FAILED,
    "all_done": FINAL,
    "all_done_setup_success": FINAL,
    "all_done_min_one_success": ("succeeded", "canceled", *FAILED),
    "all_skipped": ("skipped",),
    "one_success": ("succeeded",),
    "one_failed": FAILED,
    "one_done": ("succeeded", "failed"),
    "none_failed": ("succeeded", "skipped"),
    "none_failed_min_one_success": ("succeeded", "skipped"),
    "none_skipped": ("succeeded", "canceled", *FAILED),
    "always": (None, *FINAL, "running"),
}
RULES = tuple(WANTED)
LEGACY = {"dummy": "always", "none_failed_or_skipped": "none_failed_min_one_success"}
ONE_IS_ENOUGH = ("one_success", "one_failed", "one_done")
ONE_SUCCESS_AT_LEAST = ("none_failed_min_one_success", "all_done_min_one_success")


def met(rule: str, states: Sequence[str | None]) -> bool:
    """Whether a task with these direct upstreams may run."""
    if not states or rule == "always":
        return True
    unwanted = [state for state in states if state not in WANTED[rule]]
    if rule in ONE_IS_ENOUGH:
        return len(unwanted) < len(states)
    return not unwanted and (rule not in ONE_SUCCESS_AT_LEAST or "succeeded" in states)


def fate(rule: str, states: Sequence[str | None]) -> str | None:
    """What Airflow marks a task whose rule can no longer be met; None while it still can."""
    failed, skipped = any(state in FAILED for state in states), "skipped" in states
    succeeded = "succeeded" in states
    all_skipped = all(state == "skipped" for state in states)
    done = all(state in FINAL for state in states)
    lost: dict[str, tuple[bool, bool]] = {  # whether it becomes upstream_failed, and else whether skipped
        "all_success": (failed, skipped),
        "none_failed": (failed, False),
        "none_failed_min_one_success": (failed, all_skipped),
        "all_failed": (False, skipped or succeeded),
        "all_skipped": (False, failed or succeeded),
        "none_skipped": (False, skipped),
        "one_failed": (False, done),
        "one_done": (False, done),
        "one_success": (done and not all_skipped, all_skipped),
        "all_done_min_one_success": (done and not skipped, skipped),
    }
    as_failure, as_skip = lost.get(rule, (False, False))
    return "upstream_failed" if as_failure else "skipped" if as_skip else None
