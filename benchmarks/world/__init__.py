"""A believable platform to measure in, from a seed: its graph, its events as they arrive, and how it really stands.

`environments(1)` is the size to hold: in production 120,000 tasks, 2.5 million edges and 15 million runs a day.
Everything is drawn anew from the seed whenever it is asked for, hour by hour, so no more than a few hours are ever in
memory, and two readers see the same.
"""

from benchmarks.world.graph import World

_SHARES = {"prod": 1.0, "staging": 0.1, "dev": 0.02}


def environments(factor: float, seed: int = 1) -> dict[str, World]:
    """The world of each environment: of one seed each, and smaller the farther it is from production."""
    return {name: World(factor * share, seed + place) for place, (name, share) in enumerate(_SHARES.items())}


__all__ = ["World", "environments"]
