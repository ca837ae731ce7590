"""`make bench`: every group of measurements, or those named (ingest, answers, dispatch, graph, shards, size, start)."""

import sys
from collections.abc import Callable

from benchmarks import answers, dispatch, graph, ingest, report, shards, size, start

GROUPS: dict[str, Callable[[], None]] = {
    "ingest": ingest.main,
    "answers": answers.main,
    "dispatch": dispatch.main,
    "graph": graph.main,
    "shards": shards.main,
    "size": size.main,
    "start": start.main,
}


def main(names: list[str]) -> int:
    """Runs the named groups; all of them where none is named."""
    unknown = [name for name in names if name not in GROUPS]
    if unknown:
        print(f"no group of benchmarks is named {unknown[0]}: choose of {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    for name in names or GROUPS:
        GROUPS[name]()
    report.main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
