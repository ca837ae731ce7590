"""The system account that PostgreSQL runs as where everything else runs as root."""

import os
import pwd
import shutil
import subprocess
import sys
from uuid import uuid4

import pytest

# Everything is imported before the signal, so that all of them come to the account in the same moment.
CREATE = """
import pwd, sys
from dataforge.local import postgres
postgres._pgserver()
print("ready", flush=True)
sys.stdin.readline()
postgres._create_account(sys.argv[1])
print(pwd.getpwnam(sys.argv[1]).pw_uid)
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("useradd") is None, reason="only root makes accounts")
def test_first_starts_at_once_make_one_account() -> None:
    account = f"dataforge-{uuid4().hex[:8]}"
    command = [sys.executable, "-W", "ignore", "-c", CREATE, account]
    try:
        started = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            for _ in range(4)
        ]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
        found = {process.communicate(timeout=60)[0].strip() for process in started}
        assert found == {str(pwd.getpwnam(account).pw_uid)}
    finally:
        subprocess.run(["userdel", "-r", account], capture_output=True, check=False)
