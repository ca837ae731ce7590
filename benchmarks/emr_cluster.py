"""EMR without AWS: moto's server, which keeps clusters and steps and runs nothing, and a thread that plays the cluster.

What runs is over as soon as it is seen, as who made the cluster has said of its partition.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger
from threading import Event, Thread
from typing import Any
from unittest.mock import patch

import boto3
from moto.backends import get_backend
from moto.server import ThreadedMotoServer

REGION, ACCOUNT = "eu-central-1", "123456789012"
ENDPOINT = "AWS_ENDPOINT_URL"


@contextmanager
def aws() -> Iterator[str]:
    """The address of a server, which is boto3's until the end of the block."""
    getLogger("werkzeug").setLevel(ERROR)  # it says a line of each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    named = {ENDPOINT: f"http://{host}:{port}", "AWS_DEFAULT_REGION": REGION}
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with patch.dict(os.environ, {**named, **keys}):
        yield named[ENDPOINT]
    server.stop()


class Cluster:
    """The cluster's part: each step that runs is ended, well unless its day is to fail or to hang."""

    def __init__(self) -> None:
        self.client = boto3.client("emr")
        hardware = {"KeepJobFlowAliveWhenNoSteps": True, "InstanceCount": 1, "MasterInstanceType": "m5.large"}
        named = {"JobFlowRole": "r", "ServiceRole": "s", "ReleaseLabel": "emr-7.5.0"}
        self.id: str = self.client.run_job_flow(Name="nightly", Instances=hardware, **named)["JobFlowId"]
        self.fails: dict[str, str] = {}
        self.hangs: set[str] = set()
        self.most = 0
        self._stop = Event()
        self._thread = Thread(target=self._turn)
        self._thread.start()

    @property
    def steps(self) -> list[Any]:
        return [*self._kept.steps]

    @property
    def days(self) -> list[str]:
        """The day of each step, in the order in which they were added."""
        return [match.group(1) for step in self.steps if (match := re.search(r"\[(.*)\]#", step.name))]

    def terminate(self) -> None:
        self._kept.terminate()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def _kept(self) -> Any:
        regions = get_backend("emr")[ACCOUNT].values()  # moto's server reads the region from the address alone
        return next(each.clusters[self.id] for each in regions if self.id in each.clusters)

    def _turn(self) -> None:
        while not self._stop.wait(0.02):
            running = [step for step in self.steps if step.state in ("PENDING", "RUNNING")]
            self.most = max(self.most, len(running))
            for step in running:
                day = step.name.partition("[")[2].partition("]")[0]
                if day in self.fails:
                    step.last_state_change_reason = self.fails[day]
                if day not in self.hangs:
                    step.state = "FAILED" if day in self.fails else "COMPLETED"
