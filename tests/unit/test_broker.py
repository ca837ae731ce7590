"""The broker that is started by hand: whoever stops it ends it, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import broker


def test_who_has_the_number_of_a_broker_that_has_ended_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "BY_HAND", tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / "pid").write_text(str(other.pid))
        assert broker.main(["stop"]) == 0
        other.communicate(b"\n")
    assert other.returncode == 0


def test_a_broker_that_has_ended_need_not_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "BY_HAND", tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    (tmp_path / "pid").write_text(str(ended.pid))
    assert broker.main(["stop"]) == 0
    assert not (tmp_path / "pid").exists()
