"""A real Kafka broker of one's own: one KRaft node, from the jars that `make kafka` fetches.

`python -m benchmarks.broker` starts one by hand under build/kafka, in the background, or says that it runs.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.scratch import free_port

PROJECT = Path(__file__).parents[1]
LIBS = PROJECT / "build" / "kafka" / "libs"
BY_HAND, PORT = PROJECT / "build" / "kafka" / "broker", 9092
_POM = PROJECT / "deploy" / "kafka" / "pom.xml"
_READY_SECONDS = 60
_END_SECONDS = 20
_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
# A small heap, and no compiler that takes long. Below, sessions of a second and a half: after a kill -9 the controller
# refuses the broker until the old session is over, 9 s by default.
_JAVA = ("java", "-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.heartbeat.interval.ms=300
broker.session.timeout.ms=1500
"""


def missing() -> str | None:
    """What the machine lacks for a broker."""
    lacking = [program for program in ("java", "mvn") if shutil.which(program) is None]
    return f"there is no {' and no '.join(lacking)} on the path" if lacking else None


def fetch() -> None:
    """Copies the broker's jars from Maven Central, unless they are there."""
    if not LIBS.is_dir():
        goal = ["mvn", "-B", "-q", "-ntp", "-f", str(_POM), "dependency:copy-dependencies"]
        subprocess.run(goal, check=True, stdout=subprocess.DEVNULL)


class Kafka:
    """One broker on its folder: it may be killed and started again."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self._folder = folder
        self.port = port or free_port()
        self._controller = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.address = f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Makes its folder, the first time."""
        self._folder.mkdir(parents=True, exist_ok=True)
        values = {"port": self.port, "controller": self._controller, "folder": self._folder}
        self._properties.write_text(_PROPERTIES.format(**values), encoding="utf-8")
        tool = ("kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", _CLUSTER, "-c", str(self._properties))
        subprocess.run([*_JAVA, "-cp", f"{LIBS}/*", *tool], check=True, capture_output=True)

    def start(self, *, detached: bool = False) -> None:
        """Starts it, and waits until it answers. A detached one outlives the terminal that it was started from."""
        options = [*_JAVA, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{LIBS}/*"]
        with (self._folder / "log").open("ab") as output:
            self.process = subprocess.Popen(
                [*options, "kafka.Kafka", str(self._properties)],
                stdout=output,
                stderr=output,
                start_new_session=detached,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not answers(self.address):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the broker does not start: see {self._folder / 'log'}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it by a signal, and waits until it is gone: by force, where it does not go by itself."""
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"


def answers(address: str) -> bool:
    """Whether a broker is there and ready, after two seconds at most."""
    try:
        return bool(AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=2).brokers)
    except KafkaException:
        return False


@contextmanager
def running() -> Iterator[Kafka]:
    """A broker on free ports and a folder that vanishes with it."""
    fetch()
    with tempfile.TemporaryDirectory(prefix="dataforge-kafka-") as folder:
        kafka = Kafka(Path(folder))
        kafka.prepare()
        try:
            kafka.start()
            yield kafka
        finally:
            kafka.end()


def _stop(number: int) -> None:
    """Ends the broker that was started under this number, unless it has ended: then another process may have it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(number)
        if "kafka.Kafka" in process.cmdline():
            process.terminate()


def main(arguments: list[str]) -> int:
    """Starts the broker that is run by hand, or stops it (`stop`)."""
    noted, address = BY_HAND / "pid", f"127.0.0.1:{PORT}"
    if arguments == ["stop"]:
        if noted.exists():
            _stop(int(noted.read_text()))
            noted.unlink()
        return 0
    if lacking := missing():
        print(f"{lacking}: a broker needs Java 17 or newer, and Maven to fetch it", file=sys.stderr)
        return 2
    if not answers(address):
        fetch()
        kafka = Kafka(BY_HAND, PORT)
        kafka.prepare()
        kafka.start(detached=True)
        assert kafka.process is not None, "it answers"
        noted.write_text(str(kafka.process.pid))
    print(f"Kafka answers at {address}: DATAFORGE_KAFKA_BOOTSTRAP={address} dataforge consume")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
