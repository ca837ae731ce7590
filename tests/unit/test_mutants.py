"""The rules that are broken on purpose: each edit still fits the source it is made in."""

from pathlib import Path

import pytest

from benchmarks.mutation.mutants import MUTANTS, Mutant

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=[each.rule for each in MUTANTS])
def test_what_is_broken_stands_in_its_file_and_its_tests_are_there(mutant: Mutant) -> None:
    source = (_ROOT / mutant.file).read_text()
    assert mutant.before in source
    assert mutant.before != mutant.after
    assert all((_ROOT / each).is_file() for each in mutant.tests)
