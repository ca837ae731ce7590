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


def met(rule: str, states: Sequence[str | None]) -> bool:
    """Whether a task with these direct upstreams may run."""
    if not states or rule == "always":
        return True
    done = all(state in FINAL for state in states)
    some_success = "succeeded" in states
    match rule:
        case "one_success":
            return some_success
        case "one_failed":
            return any(state in FAILED for state in states)
        case "one_done":
            return any(state in ("succeeded", "failed") for state in states)
        case "none_failed_min_one_success":
            return all(state in ("succeeded", "skipped") for state in states) and some_success
        case "none_skipped":
            return done and "skipped" not in states
        case "all_done_min_one_success":
            return done and "skipped" not in states and some_success
        case _:
            return all(state in WANTED[rule] for state in states)


def fate(rule: str, states: Sequence[str | None]) -> str | None:
    """What Airflow marks a task whose rule can no longer be met; None while it still can."""
    failed, skipped = any(state in FAILED for state in states), "skipped" in states
    all_skipped = all(state == "skipped" for state in states)
    done = all(state in FINAL for state in states)
    match rule:
        case "all_success":
            return "upstream_failed" if failed else "skipped" if skipped else None
        case "none_failed":
            return "upstream_failed" if failed else None
        case "none_failed_min_one_success":
            return "upstream_failed" if failed else "skipped" if all_skipped else None
        case "all_failed":
            return "skipped" if skipped or "succeeded" in states else None
        case "all_skipped":
            return "skipped" if failed or "succeeded" in states else None
        case "none_skipped":
            return "skipped" if skipped else None
        case "one_failed" | "one_done":
            return "skipped" if done else None
        case "one_success":
            return None if not done else "skipped" if all_skipped else "upstream_failed"
        case "all_done_min_one_success":
            return "skipped" if skipped else "upstream_failed" if done else None
    return None
