"""Events to measure with: seeded, shaped like the captured ones, of a small platform with a believable day."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec

AIRFLOW = Path(__file__).parents[1] / "examples" / "captures" / "airflow" / "events.jsonl"
START = datetime(2026, 1, 1, tzinfo=UTC)
encode = msgspec.json.Encoder().encode


def native(count: int, seed: int = 1) -> list[bytes]:
    """Native events: tasks that run daily, each run running and then succeeded or failed, a dataset written."""
    random = Random(seed)
    events: list[bytes] = []
    while len(events) < count:
        task, day = random.randrange(400), START + timedelta(days=random.randrange(300))
        base = {
            "task": {"namespace": "bench", "name": f"team_{task % 20}.task_{task}"},
            "run": f"{day:%Y-%m-%d}-{random.randrange(10**9)}",
            "partition": f"{day:%Y-%m-%d}",
        }
        began = day + timedelta(seconds=random.randrange(80_000))
        outputs = [{"namespace": "s3://lake", "name": f"team_{task % 20}/table_{task}"}]
        state = "failed" if random.random() < 0.03 else "succeeded"
        events.append(encode({**base, "time": began.isoformat(), "state": "running"}))
        ended = began + timedelta(seconds=random.randrange(5, 900))
        events.append(encode({**base, "time": ended.isoformat(), "state": state, "outputs": outputs}))
    return events[:count]


def apart(events: list[bytes], most: int, seed: int = 1) -> list[bytes]:
    """The same native events, each run's end up to `most` events after its begin, as of runs that take their time."""
    random = Random(seed)
    places = [place + (random.randrange(1, most) if place % 2 else 0) for place in range(len(events))]
    return [events[each] for each in sorted(range(len(events)), key=lambda each: (places[each], each))]


def airflow(count: int, seed: int = 1) -> list[bytes]:
    """Airflow's own captured task events (5 KB), with other tasks, runs and times."""
    captured = [json.loads(line) for line in AIRFLOW.read_bytes().splitlines()]
    templates = [event for event in captured if "airflow" in event["run"]["facets"]]
    return [encode(event) for event in _renamed(templates, count, Random(seed))]


def _renamed(templates: list[dict[str, Any]], count: int, random: Random) -> Iterator[dict[str, Any]]:
    for number in range(count):
        text = json.dumps(templates[number % len(templates)])
        copy, day = number // len(templates), START + timedelta(days=random.randrange(300))
        for dag in ("extract_orders", "transform_revenue", "clients_mapped"):
            text = text.replace(f'"{dag}"', f'"{dag}_{copy % 50}"').replace(f'"{dag}.', f'"{dag}_{copy % 50}.')
        text = text.replace("2026-06-0", f"{day:%Y-%m}-0").replace("019e80", f"{copy % 0xFFFFFF:06x}")
        yield json.loads(text.replace("2026-11-20T23:5", f"2026-11-20T{copy % 24:02}:5"))
