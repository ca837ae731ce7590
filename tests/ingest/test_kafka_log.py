"""How a cluster is reached beyond its address: a file of librdkafka's own settings."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Timer

import pytest

from dataforge.ingest.kafka import Reader, consume
from dataforge.ingest.kafka_log import Broker, administration, read_properties
from dataforge.ingest.redaction import NOTHING
from dataforge.model.errors import SettingsError
from dataforge.storage.database import Database


def test_properties_are_lines_and_none_of_them_names_another_cluster(tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text("# who we are\nsecurity.protocol=SASL_SSL\n\nsasl.password = a=b \nbootstrap.servers=elsewhere:1\n")
    broker = Broker("kafka:9092", ("events",), "dataforge", read_properties(file))
    assert broker.settings() == {
        "security.protocol": "SASL_SSL",
        "sasl.password": "a=b",
        "bootstrap.servers": "kafka:9092",
        "client.id": "dataforge",
    }


@pytest.mark.parametrize("line", ["security.protocol", "=SASL_SSL"])
def test_a_line_that_sets_nothing_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text(f"client.rack=a\n{line}\n")
    with pytest.raises(SettingsError, match="line 2 is none"):
        read_properties(file)


def test_what_librdkafka_does_not_take_is_refused_without_its_value() -> None:
    with pytest.raises(SettingsError, match=r"DATAFORGE_KAFKA_PROPERTIES is 'sasl.pasword'.*librdkafka") as refused:
        administration(Broker("kafka:9092", ("events",), "dataforge", (("sasl.pasword", "secret"),)))
    assert "secret" not in str(refused.value)


def test_settings_that_no_consumer_takes_end_it_and_are_not_waited_for(database: Database) -> None:
    broker = Broker("127.0.0.1:1", ("events",), "dataforge", (("group.protocol", "consumer"),))
    stop = Event()
    long_enough = Timer(10, stop.set)
    long_enough.start()
    with pytest.raises(SettingsError, match=r"DATAFORGE_KAFKA_PROPERTIES is 'group.protocol'.*librdkafka"):
        consume(Reader(database, "dev", NOTHING), broker, stop)
    long_enough.cancel()
