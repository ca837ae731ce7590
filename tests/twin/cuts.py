"""What the machine draws of cuts beside plain windows: two dimensions, sets of keys that grow, schedules, offsets; and
the mappings between them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.twin.windows import Cut

SET = "clients"
KEYS = ("a", "b", "c")  # of the set
_DAILY = {"kind": "daily", "start": "2026-10-24"}
_STATIC = {"kind": "static", "keys": ["a", "b"]}
DYNAMIC = {"kind": "dynamic", "set": SET}
CRON = {"kind": "cron", "cron": "0 6,18 * * *", "start": "2026-10-25"}
HALF_PAST = {"kind": "hourly", "start": "2026-10-25", "minute_offset": 30}
BY_CLIENT = {"kind": "product", "dimensions": {"client": _STATIC, "date": _DAILY}}
BY_SET = {"kind": "product", "dimensions": {"client": DYNAMIC, "date": _DAILY}}
BY_REGION = {"kind": "product", "dimensions": {"date": _DAILY, "region": _STATIC}}
CUTS: list[Cut] = [*[BY_CLIENT] * 4, *[BY_SET] * 3, BY_REGION, *[DYNAMIC] * 3, _STATIC, *[_DAILY] * 4, CRON, HALF_PAST]
_TABLE = {"kind": "table", "keys": {"a": ["b"], "b": ["a", "b"]}}


def _by(**dimensions: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "dimension", "dimensions": dimensions}


def _along(dimension: str, mapping: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"kind": "along", "dimension": dimension, **({"mapping": mapping} if mapping else {})}


MAPPINGS: list[dict[str, Any]] = [
    _along("client"),
    _along("client", _TABLE),
    _along("date"),
    _along("date", {"kind": "window", "from": -1, "to": 0}),
    _along("date", {"kind": "last", "not_older_than": "P2D"}),
    _by(client={"kind": "all"}),
    _by(date={"kind": "last"}),
    _by(date={"kind": "last", "not_older_than": "P2D"}),
    _by(date={"kind": "window", "from": -1, "to": -1}),
    _by(client={"kind": "fixed", "key": "a"}, date={"kind": "window", "from": -1, "to": 0}),
    _by(client=_along("region", _TABLE)),
    _by(region=_along("client", _TABLE)),
    _by(region={"kind": "all"}),
    {"kind": "fixed", "key": "b|2026-10-24"},
    {"kind": "table", "keys": {"a": ["a|2026-10-24", "b|2026-10-25"], "b": []}},
    {"kind": "table", "keys": {"a|2026-10-24": ["a"], "b|2026-10-25": ["a", "b"]}},
]


@st.composite
def registrations(draw: st.DrawFn) -> dict[str, Any]:
    """What somebody registers in the set, or takes off it, without its time."""
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True))
    return {
        "control": draw(st.sampled_from(["register", "delist"])),
        "set": SET,
        "keys": keys,
        "by": "anna",
        "reason": "x",
    }
