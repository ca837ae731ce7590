"""Where one installation keeps what runs: its folders, logs and sockets.

Guarantees that two homes never share a path, and that every socket's path fits the 104 to 108 bytes that
operating systems allow, however deep the home lies.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from dataforge.model.errors import SettingsError, StartupError

# The longest socket name, bound under a temporary name that ends in a process id.
_LONGEST_SOCKET = "supervisor.sock.4194304"
_LONGEST_PATH = 103


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one installation; nothing exists before `create`."""

    home: Path

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def postgres(self) -> Path:
        return self.home / "postgres"

    @property
    def dagster(self) -> Path:
        """Dagster's own home: its configuration, and what its runs print and keep."""
        return self.home / "dagster"

    @property
    def supervisor_configuration(self) -> Path:
        return self.home / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        return self.home / "supervisord.pid"

    @property
    def start_lock(self) -> Path:
        return self.home / "start.lock"

    @property
    def sockets(self) -> Path:
        """`run` under the home, or a folder in /tmp named after the home where that would be too long."""
        near = self.home / "run"
        if len(os.fsencode(near / _LONGEST_SOCKET)) <= _LONGEST_PATH:
            return near
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path("/tmp") / f"dataforge-{os.getuid()}-{digest}"  # noqa: S108  # its owner is checked

    @property
    def supervisor_socket(self) -> Path:
        return self.sockets / "supervisor.sock"

    @property
    def postgres_sockets(self) -> Path:
        return self.sockets / "postgres"

    def code_server_socket(self, position: int) -> Path:
        """Where the code server of one location listens: by position, since a name might not fit a socket's path."""
        return self.sockets / f"code{position}.sock"

    def log(self, process: str) -> Path:
        """The log of one supervised process, or of the supervisor itself."""
        return self.logs / f"{process}.log"

    def create(self) -> None:
        """Makes the folders; other accounts may pass through to what is theirs, and list nothing."""
        if re.search(r"[%'\"\n]|\s[;#]", str(self.home)):
            expected = "a path without %, quotes, line ends, ' ;' and ' #', which the supervisor cannot read"
            raise SettingsError("DATAFORGE_HOME", str(self.home), expected)
        try:
            for folder, mode in ((self.home, 0o711), (self.logs, 0o700), (self.sockets, 0o711), (self.dagster, 0o700)):
                folder.mkdir(mode=mode, parents=True, exist_ok=True)
        except OSError as error:
            message = f"cannot create {error.filename}: {error.strerror}; set DATAFORGE_HOME to a folder you own"
            raise StartupError(message) from error
        _require_own_folder(self.sockets)


def _require_own_folder(folder: Path) -> None:
    """Refuses a folder that somebody else made in /tmp under the name that ours would have."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StartupError(f"{folder} belongs to somebody else: remove it, or set DATAFORGE_HOME to a shorter path")
