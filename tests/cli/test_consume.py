"""`consume`: what only goes with a question or a decision is refused, where it would read on and on instead."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--reset", "end"], "--reset needs a --reason"),
        (["--reason", "the topic was made anew"], "--reset needs a --reason"),
        (["--by", "ops"], "--reset needs a --reason"),
        (["--json"], "--json goes with --lag or --reset"),
    ],
)
def test_options_that_would_do_nothing_are_refused(run: Run, given: list[str], expected: str) -> None:
    done = run("consume", *given)
    assert done.exit_code == 2
    assert expected in done.output
