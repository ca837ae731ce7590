"""`spark-submit` on this machine: what it is called, and how an application is submitted.

Guarantees that an application has the name that it is given, by which a driver that still runs here is found again.
"""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import psutil
from dagster import ConfigurableResource
from pydantic import Field

from resources.configuration import given
from resources.refused import Refused

COMMAND = "spark-submit"


class SparkResource(ConfigurableResource[Any]):
    """Spark, as this machine reaches it: a local one, or a cluster of which the driver runs here."""

    submit: str = Field(default=COMMAND, description="The command spark-submit, or the path to it.")
    master: str = Field(default="", description="Spark's master, such as yarn or local[2]; empty: as Spark is set up.")
    conf: dict[str, str] = Field(default_factory=dict, description="Properties that every application gets.")

    def require(self) -> None:
        """Raises Refused where there is no Spark."""
        if shutil.which(self.submit) is None:
            raise Refused(
                f"there is no {self.submit} on this machine: install Spark (`pip install 'dataforge[pyspark]'` brings a"
                " local one), or name the path to its spark-submit in DATAFORGE_SPARK_SUBMIT"
            )

    def command(self, name: str, application: str, arguments: Sequence[str], conf: Mapping[str, str]) -> list[str]:
        """What submits the application under this name."""
        where = ["--master", self.master] if self.master else []
        properties = [part for key, value in {**self.conf, **conf}.items() for part in ("--conf", f"{key}={value}")]
        return [self.submit, *where, "--name", name, *properties, application, *arguments]

    def drivers(self) -> dict[str, int]:
        """The applications whose drivers run on this machine, by name, with a process of each."""
        found: dict[str, int] = {}
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if any(COMMAND in word or "SparkSubmit" in word for word in words) and "--name" in words[:-1]:
                found.setdefault(words[words.index("--name") + 1], process.pid)
        return found


def spark_resource() -> SparkResource:
    """The Spark whose spark-submit DATAFORGE_SPARK_SUBMIT names, else the one on the path."""
    return SparkResource(submit=given("DATAFORGE_SPARK_SUBMIT", COMMAND), master=given("DATAFORGE_SPARK_MASTER", ""))
