"""The snapshot of a window, as `dataforge window build` has written it: all that a code location reads of the ledger
when it loads.
"""

from pathlib import Path

from dataforge.ingest.garbage import collect_less
from dataforge.model import asset
from dataforge.model.asset import Snapshot
from dataforge.model.errors import NotFound
from dataforge.settings import project_folder

SHOP = project_folder() / "examples" / "shop" / "window.json"


def snapshot_at(path: Path) -> Snapshot:
    """The snapshot in that file. Raises NotFound or InvalidInput, which name the command that makes it. The process
    collects garbage less often from then on: thousands of assets are made of it."""
    collect_less()
    command = f"`dataforge window build {path.with_suffix('.yaml')}` writes it"
    try:
        return asset.read(path.read_bytes(), str(path), command)
    except FileNotFoundError:
        raise NotFound(f"there is no snapshot {path}: {command}") from None
