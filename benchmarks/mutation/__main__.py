"""`python -m benchmarks.mutation`: breaks each rule in a copy of the checkout and runs its tests; 0 if all are caught.

`--only TEXT` takes the rules whose name or file holds the text. The copy has what git tracks, as it stands here.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.mutation.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
_PATIENCE = 900  # seconds for one mutant; a rule that never ends is caught as well
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def main() -> int:
    """Tries the rules one after the other, and prints what became of each."""
    parser = argparse.ArgumentParser(description="Break rules on purpose and see whether the tests notice.")
    parser.add_argument("--only", metavar="TEXT", default="", help="rules whose name or file holds this")
    wanted = parser.parse_args().only
    chosen = [mutant for mutant in MUTANTS if wanted in mutant.rule or wanted in mutant.file]
    folder = Path(tempfile.mkdtemp(prefix="dataforge-mutants-"))
    try:
        _copy(folder)
        if failing := _failing(folder, sorted({test for mutant in chosen for test in mutant.tests})):
            print(f"{failing} fails before any rule is broken: mend that first")
            return 1
        caught = [_is_caught(folder, mutant) for mutant in chosen]
    finally:
        shutil.rmtree(folder)
    print(f"{sum(caught)} of {len(chosen)} broken rules were caught")
    return 0 if chosen and all(caught) else 1


def _copy(folder: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S607
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def _is_caught(folder: Path, mutant: Mutant) -> bool:
    file = folder / mutant.file
    original = file.read_text(encoding="utf-8")
    if mutant.before not in original:
        print(f"no such text  {mutant.rule}: {mutant.file}", flush=True)
        return False
    file.write_text(original.replace(mutant.before, mutant.after), encoding="utf-8")
    try:
        by = _failing(folder, mutant.tests)
    finally:
        file.write_text(original, encoding="utf-8")
    print(f"{'caught  ' if by else 'SURVIVED'}  {mutant.rule}: {by or ' '.join(mutant.tests)}", flush=True)
    return by is not None


def _failing(folder: Path, tests: Sequence[str]) -> str | None:
    """The first test that fails; None where all pass. The copy comes first on the path, so it is what is tested."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return "no end"
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run: {done.stdout[-2_000:]}{done.stderr[-2_000:]}")
    found = _FAILED.search(done.stdout)
    return found[1] if found else None


if __name__ == "__main__":
    raise SystemExit(main())
