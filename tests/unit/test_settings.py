"""Settings: the environment wins over the file, and a bad value names itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataforge.model.errors import SettingsError
from dataforge.settings import as_environ, load


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "dataforge.toml"


def test_defaults_need_neither_environment_nor_file(toml: Path) -> None:
    settings = load({}, toml)
    assert settings.home == toml.parent / ".dataforge"
    assert (settings.host, settings.port, settings.dagster_port) == ("127.0.0.1", 8700, 3000)
    assert (settings.environment, settings.example, settings.database_url) == ("dev", True, None)
    assert settings.body_days == 90


def test_the_environment_wins_over_the_file(toml: Path) -> None:
    toml.write_text('DATAFORGE_PORT = 8701\nDATAFORGE_EXAMPLE = false\nDATAFORGE_ENVIRONMENT = "staging"\n')
    settings = load({"DATAFORGE_PORT": "8702"}, toml)
    assert (settings.port, settings.example, settings.environment) == (8702, False, "staging")


def test_an_empty_value_counts_as_unset(toml: Path) -> None:
    toml.write_text('DATAFORGE_API_KEY = ""\n')
    settings = load({"DATAFORGE_DATABASE_URL": "", "DATAFORGE_PORT": ""}, toml)
    assert (settings.database_url, settings.port, settings.api_key) == (None, 8700, None)


def test_relative_paths_start_at_the_files_folder(toml: Path) -> None:
    (toml.parent / "rules.toml").touch()
    settings = load({"DATAFORGE_HOME": "state", "DATAFORGE_REDACTION": "rules.toml"}, toml)
    assert settings.home == toml.parent / "state"
    assert settings.redaction == toml.parent / "rules.toml"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.1.1", "::1", "localhost"])
def test_loopback_hosts_are_accepted(toml: Path, host: str) -> None:
    assert load({"DATAFORGE_HOST": host}, toml).host == host


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DATAFORGE_HOST", "0.0.0.0", "loopback"),
        ("DATAFORGE_HOST", "127.0.0.1.example.com", "loopback"),
        ("DATAFORGE_PORT", "http", "a port number from 1 to 65535"),
        ("DATAFORGE_PORT", "0", "a port number from 1 to 65535"),
        ("DATAFORGE_PORT", "65536", "a port number from 1 to 65535"),
        ("DAGSTER_PORT", "-1", "a port number"),
        ("DATAFORGE_EXAMPLE", "maybe", "0 or 1"),
        ("DATAFORGE_DAGSTER", "maybe", "0 or 1"),
        ("DATAFORGE_BODY_DAYS", "0", "a number of days from 1 to 36500"),
        ("DATAFORGE_BODY_DAYS", "ninety", "a number of days from 1 to 36500"),
        ("DATAFORGE_EVENT_DAYS", "0", "a number of days from 1 to 36500"),
        ("DATAFORGE_ARCHIVE", "gs://bucket/x", "s3://bucket/prefix?region=eu-central-1"),
        ("DATAFORGE_ARCHIVE", "s3:///x", "s3://bucket/prefix?region=eu-central-1"),
        ("DATAFORGE_WORKSPACE", "nowhere.yaml", "the path of a file"),
        ("DATAFORGE_ENVIRONMENT", "Prod!", "a name such as dev, staging or prod"),
        ("DATAFORGE_DATABASE_URL", "mysql://db/x", "postgresql://"),
        ("DATAFORGE_REDACTION", "nowhere.toml", "the path of a file"),
        ("DATAFORGE_LEDGER", "127.0.0.1:8700", "http://127.0.0.1:8700"),
        ("DATAFORGE_KAFKA_BOOTSTRAP", "kafka-1", "brokers such as kafka-1:9092,kafka-2:9092"),
        ("DATAFORGE_KAFKA_TOPICS", "my events", "a name of letters, digits, dots, underscores and hyphens"),
        ("DATAFORGE_KAFKA_PROPERTIES", "nowhere.properties", "the path of a file"),
        ("DATAFORGE_KAFKA_GROUP", "a group", "a name of letters, digits, dots, underscores and hyphens"),
    ],
)
def test_a_bad_value_names_the_setting_the_value_and_what_is_expected(
    toml: Path, name: str, value: str, expected: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load({name: value}, toml)
    assert f"{name} is {value!r}" in str(refused.value)
    assert expected in str(refused.value)


def test_a_refused_url_does_not_show_its_password(toml: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load({"DATAFORGE_DATABASE_URL": "mysql://user:secret@db/x"}, toml)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("DATAFORGE_PROT = 8700", "DATAFORGE_PROT"),
        ("DATAFORGE_PORT = [8700]", "DATAFORGE_PORT"),
        ("DATAFORGE_PORT = ", "dataforge.toml"),
    ],
)
def test_a_bad_file_is_refused_by_name(toml: Path, text: str, named: str) -> None:
    toml.write_text(text)
    with pytest.raises(SettingsError, match=named):
        load({}, toml)


def test_another_process_reads_the_same_settings(toml: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").touch()
    given = {
        "DATAFORGE_HOME": "/somewhere",
        "DATAFORGE_DATABASE_URL": "postgresql://u:p@h/d",
        "DATAFORGE_EXAMPLE": "0",
        "DATAFORGE_API_KEY": "k",
        "DATAFORGE_REDACTION": str(tmp_path / "rules.toml"),
        "DATAFORGE_HOST": "::1",
        "DATAFORGE_LEDGER": "http://ledger.example:8700",
        "DATAFORGE_KAFKA_BOOTSTRAP": "kafka:9092",
        "DATAFORGE_KAFKA_TOPICS": "events, more.events",
        "DATAFORGE_KAFKA_PROPERTIES": str(tmp_path / "rules.toml"),
    }
    settings = load(given, toml)
    assert load(as_environ(settings), Path("/elsewhere/dataforge.toml")) == settings
