"""`runs --since`: runs of the database and of files, and where each was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dataforge.cli.invocation import Invocation
from dataforge.cli.lists import RUN_TITLES, collected, print_page, run_row
from dataforge.cli.opened import opened
from dataforge.model.filter import RunFilter
from dataforge.model.listing import Page

if TYPE_CHECKING:
    from dataforge.ledger.run_history import FoundRun
    from dataforge.storage.archive import Archive


def show_history(invocation: Invocation, wanted: RunFilter, archive: Archive, *, as_json: bool) -> None:
    """Prints a page of runs; in JSON what a file does not say, what a run read and wrote, is null."""
    from dataforge.ledger.run_history import runs

    with opened(invocation, patient=False) as database:
        page = collected(lambda asked: runs(database, invocation.settings.environment, asked, archive), wanted)
    if as_json:
        told = Page([_told(found) for found in page.items], page.next_cursor)
        print_page(told, (), tuple, as_json=True)
        return
    print_page(page, (*RUN_TITLES, "FOUND IN"), lambda found: (*run_row(found.run), found.origin), as_json=False)


def _told(found: FoundRun) -> dict[str, Any]:
    from dataforge.ledger.run_history import DATABASE

    untold = {} if found.origin == DATABASE else {"inputs": None, "outputs": None}
    return {**msgspec.to_builtins(found.run), **untold, "origin": found.origin}
