"""Cold start of the command line, beside the start of the interpreter that runs it."""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figure import Bench, percentile

ROUNDS = 15


def main() -> None:
    """Measures `dataforge --version` and `dataforge why --help`, in turn with a bare interpreter."""
    program = str(Path(sys.executable).with_name("dataforge"))
    commands = {
        "bare": [sys.executable, "-c", "pass"],
        "version": [program, "--version"],
        "why": [program, "why", "--help"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            taken[name].append(time.perf_counter() - began)
    bench, floor = Bench("start", ""), percentile(taken["bare"], 50)
    for figure, name in (("cli.start", "version"), ("cli.start.why", "why")):
        ratio = percentile(taken[name], 50) / floor
        bench.times(figure, taken[name][1:], f"the bare interpreter ({1_000 * floor:.0f} ms)", ratio)
