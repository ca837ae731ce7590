"""Dagster's code locations, as workspace.yaml names them.

Guarantees that there is one code server for each, which the webserver and the daemon share: each of them would
otherwise start its own. Measured with one location: 430 MB instead of 580, healthy after 7 s instead of 10, and a
run outlives a daemon that is killed, whose code server would have been its parent.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from dataforge.local.layout import Layout
from dataforge.model.errors import SettingsError
from dataforge.settings import Settings, project_folder

FILE = "workspace.yaml"
_SETTING = "DATAFORGE_WORKSPACE"


class CodeLocation(NamedTuple):
    """One module of definitions, loaded by a code server of its own."""

    name: str
    module: str
    folder: Path  # from where modules are imported besides the installed ones
    socket: Path

    @property
    def process(self) -> str:
        """The name of its code server among the supervised processes."""
        return f"dagster-code-{self.name}"

    @property
    def arguments(self) -> list[str]:
        """What its code server is started with. A module that fails to load is served as its error, not retried."""
        where = ["--socket", str(self.socket), "--location-name", self.name]
        what = ["--module-name", self.module, "--working-directory", str(self.folder)]
        return ["-m", "dagster", "api", "grpc", "--lazy-load-user-code", *where, *what]


def locations(settings: Settings, layout: Layout) -> list[CodeLocation]:
    """The code locations of the installation, in the order of the file."""
    path = settings.workspace or shipped(FILE)
    return [_location(path, layout, position, entry) for position, entry in enumerate(_entries(path))]


def served(found: list[CodeLocation]) -> str:
    """The workspace for the processes that share the code servers."""
    import yaml

    servers = [{"grpc_server": {"socket": str(each.socket), "location_name": each.name}} for each in found]
    return yaml.safe_dump({"load_from": servers}, sort_keys=False)


def shipped(name: str) -> Path:
    """A file of the project's top level. A wheel carries it in a folder that holds no module, since the folder of a
    workspace is where modules are looked for first."""
    beside = project_folder() / name
    return beside if beside.is_file() else Path(__file__).parent / "shipped" / name


def _entries(path: Path) -> list[object]:
    import yaml  # a slow import, and most commands need none

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries: list[object] = list(document["load_from"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError) as error:
        raise SettingsError(_SETTING, str(path), f"a workspace file with a list `load_from` ({error})") from error
    return entries


def _location(path: Path, layout: Layout, position: int, entry: object) -> CodeLocation:
    match entry:
        case {"python_module": {"module_name": str(module), "location_name": str(name)}} if re.fullmatch(
            r"[A-Za-z0-9_-]+", name
        ):
            return CodeLocation(name, module, path.resolve().parent, layout.code_server_socket(position))
    expected = "entries {python_module: {module_name: ..., location_name: ...}}, the name of letters, digits, - and _"
    raise SettingsError(f"{_SETTING} ({path})", entry, expected)
