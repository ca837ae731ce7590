"""The settings of this installation, read from the environment and from `dataforge.toml` in the project.

Guarantees that a `Settings` is valid as a whole: every value that cannot be used raises a `SettingsError`
that names the setting, the value and what is expected. A variable of the environment wins over the file;
an empty one counts as unset. Nothing heavy is imported here, since every command starts by reading it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dataforge.model.errors import SettingsError

NAMES = (
    "DATAFORGE_HOME",
    "DATAFORGE_DATABASE_URL",
    "DATAFORGE_ENVIRONMENT",
    "DATAFORGE_HOST",
    "DATAFORGE_PORT",
    "DAGSTER_PORT",
    "DATAFORGE_EXAMPLE",
    "DATAFORGE_API_KEY",
    "DATAFORGE_REDACTION",
    "DATAFORGE_LEDGER",
    "DATAFORGE_DAGSTER",
    "DATAFORGE_WORKSPACE",
    "DATAFORGE_BODY_DAYS",
    "DATAFORGE_EVENT_DAYS",
    "DATAFORGE_ARCHIVE",
    "DATAFORGE_TRUSTED",
    "DATAFORGE_KAFKA_BOOTSTRAP",
    "DATAFORGE_KAFKA_TOPICS",
    "DATAFORGE_KAFKA_GROUP",
    "DATAFORGE_KAFKA_PROPERTIES",
)
_SWITCH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class Settings:
    """What one installation is told from outside; every path is absolute."""

    home: Path  # state: the embedded database, logs, sockets
    database_url: str | None  # None: the embedded PostgreSQL under `home`
    environment: str  # the environment meant where none is named
    host: str  # where the API listens
    port: int
    dagster_port: int  # where the Dagster webserver listens
    example: bool  # whether `up` loads the captured history
    api_key: str | None
    redaction: Path | None  # rules for what may be stored of an event's body
    ledger: str | None  # where Dagster finds the ledger; None: at this installation's API
    dagster: bool  # whether `up` starts Dagster too
    workspace: Path | None  # Dagster's code locations; None: the project's workspace.yaml
    trusted: frozenset[str]  # namespaces whose tasks may be claimed on what was only observed; "*" is all
    body_days: int = 90  # how long what events said is kept, if a checkpoint covers it
    event_days: int = 400  # how long it is known which events were recorded
    archive: str | None = None  # where what ends is exported to, a folder or an s3:// URI; None: nowhere
    kafka_bootstrap: str | None = None  # a cluster whose messages `up` lets consume
    kafka_topics: tuple[str, ...] = ("openlineage.events",)
    kafka_group: str = "dataforge"  # whose consumers share the work; another for each installation on one cluster
    kafka_properties: Path | None = None  # how the cluster is reached beyond its address: TLS, SASL


def current() -> Settings:
    """The settings of this process."""
    return load(os.environ, project_folder() / "dataforge.toml")


def project_folder() -> Path:
    """The checkout this package runs from; the working directory where it was installed as a wheel."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def load(environ: Mapping[str, str], toml_path: Path) -> Settings:
    """The settings given by `environ` and, where that is silent, by the file, which need not exist.

    Relative paths start at the file's folder, so that a command means the same from every directory.
    """
    folder = toml_path.resolve().parent
    values = _file_values(toml_path)
    values.update({name: environ[name] for name in NAMES if environ.get(name)})
    return Settings(
        home=folder / Path(values.get("DATAFORGE_HOME", ".dataforge")).expanduser(),
        database_url=_database_url(values.get("DATAFORGE_DATABASE_URL")),
        environment=environment_name(values.get("DATAFORGE_ENVIRONMENT", "dev")),
        host=_host(values.get("DATAFORGE_HOST", "127.0.0.1")),
        port=_port("DATAFORGE_PORT", values.get("DATAFORGE_PORT", "8700")),
        dagster_port=_port("DAGSTER_PORT", values.get("DAGSTER_PORT", "3000")),
        example=_switch("DATAFORGE_EXAMPLE", values.get("DATAFORGE_EXAMPLE", "1")),
        api_key=values.get("DATAFORGE_API_KEY"),
        redaction=_existing_file("DATAFORGE_REDACTION", values.get("DATAFORGE_REDACTION"), folder),
        ledger=_ledger(values.get("DATAFORGE_LEDGER")),
        dagster=_switch("DATAFORGE_DAGSTER", values.get("DATAFORGE_DAGSTER", "1")),
        workspace=_existing_file("DATAFORGE_WORKSPACE", values.get("DATAFORGE_WORKSPACE"), folder),
        body_days=_days("DATAFORGE_BODY_DAYS", values.get("DATAFORGE_BODY_DAYS", "90")),
        event_days=_days("DATAFORGE_EVENT_DAYS", values.get("DATAFORGE_EVENT_DAYS", "400")),
        archive=_archive(values, folder),
        trusted=_names(values.get("DATAFORGE_TRUSTED")),
        kafka_bootstrap=_bootstrap(values.get("DATAFORGE_KAFKA_BOOTSTRAP")),
        kafka_topics=_topics(values.get("DATAFORGE_KAFKA_TOPICS", "openlineage.events")),
        kafka_group=_topic("DATAFORGE_KAFKA_GROUP", values.get("DATAFORGE_KAFKA_GROUP", "dataforge")),
        kafka_properties=_existing_file("DATAFORGE_KAFKA_PROPERTIES", values.get("DATAFORGE_KAFKA_PROPERTIES"), folder),
    )


def as_environ(settings: Settings) -> dict[str, str]:
    """The variables under which another process reads the same settings, whatever its file says."""
    optional = {
        "DATAFORGE_DATABASE_URL": settings.database_url,
        "DATAFORGE_API_KEY": settings.api_key,
        "DATAFORGE_REDACTION": settings.redaction and str(settings.redaction),
        "DATAFORGE_LEDGER": settings.ledger,
        "DATAFORGE_WORKSPACE": settings.workspace and str(settings.workspace),
        "DATAFORGE_TRUSTED": ",".join(sorted(settings.trusted)),
        "DATAFORGE_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "DATAFORGE_KAFKA_PROPERTIES": settings.kafka_properties and str(settings.kafka_properties),
    }
    return {
        "DATAFORGE_HOME": str(settings.home),
        "DATAFORGE_ENVIRONMENT": settings.environment,
        "DATAFORGE_HOST": settings.host,
        "DATAFORGE_PORT": str(settings.port),
        "DAGSTER_PORT": str(settings.dagster_port),
        "DATAFORGE_EXAMPLE": "1" if settings.example else "0",
        "DATAFORGE_DAGSTER": "1" if settings.dagster else "0",
        "DATAFORGE_BODY_DAYS": str(settings.body_days),
        "DATAFORGE_EVENT_DAYS": str(settings.event_days),
        "DATAFORGE_ARCHIVE": settings.archive or "none",
        "DATAFORGE_KAFKA_TOPICS": ",".join(settings.kafka_topics),
        "DATAFORGE_KAFKA_GROUP": settings.kafka_group,
        **{name: value for name, value in optional.items() if value},
    }


def environment_name(value: str, setting: str = "DATAFORGE_ENVIRONMENT") -> str:
    """`value` where it can name an environment; `setting` is where it came from."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", value):
        expected = "a name such as dev, staging or prod (lower case letters, digits, - and _)"
        raise SettingsError(setting, value, expected)
    return value


def _file_values(toml_path: Path) -> dict[str, str]:
    if not toml_path.is_file():
        return {}
    import tomllib

    try:
        table = tomllib.loads(toml_path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(toml_path), str(error), "a TOML file") from error
    return {name: _file_value(toml_path, name, value) for name, value in table.items() if value != ""}


def _file_value(toml_path: Path, name: str, value: object) -> str:
    if name not in NAMES:
        raise SettingsError(f"{name} in {toml_path}", value, f"one of the settings {', '.join(NAMES)}")
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int | str):
        return str(value)
    raise SettingsError(f"{name} in {toml_path}", value, "a string, a whole number, true or false")


def _database_url(value: str | None) -> str | None:
    if value is not None and not re.match(r"postgres(ql)?://", value):
        expected = "a URL such as postgresql://user:password@host:5432/dataforge"
        raise SettingsError("DATAFORGE_DATABASE_URL", _without_password(value), expected)
    return value


def _archive(values: Mapping[str, str], folder: Path) -> str | None:
    """A folder's absolute path, the one below `home` where nothing is said; or the URI of a bucket, as it stands."""
    value = values.get("DATAFORGE_ARCHIVE", str(Path(values.get("DATAFORGE_HOME", ".dataforge")) / "archive"))
    if value == "none":
        return None
    if "://" not in value:
        return str(folder / Path(value).expanduser())
    if not re.match(r"s3://[^/?]", value):
        expected = "a folder, a URI such as s3://bucket/prefix?region=eu-central-1, or none"
        raise SettingsError("DATAFORGE_ARCHIVE", _without_password(value), expected)
    return value


def _ledger(value: str | None) -> str | None:
    if value is not None and not re.match(r"(https?|postgres(ql)?)://[^/]", value):
        expected = (
            "the URL of a ledger, such as http://127.0.0.1:8700, or of its database, such as postgresql://db/ledger"
        )
        raise SettingsError("DATAFORGE_LEDGER", _without_password(value), expected)
    return value


def _without_password(url: str) -> str:
    return re.sub(r":[^:@/]*@", ":***@", url)


def _host(value: str) -> str:
    if not _is_loopback(value):
        expected = (
            "127.0.0.1, ::1 or localhost: without access keys the server listens on loopback only,"
            " because whoever reaches it may write"
        )
        raise SettingsError("DATAFORGE_HOST", value, expected)
    return value


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _port(setting: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,5}", value, re.ASCII) or not 1 <= int(value) <= 65535:
        raise SettingsError(setting, value, "a port number from 1 to 65535")
    return int(value)


def _days(setting: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,5}", value, re.ASCII) or not 1 <= int(value) <= 36_500:
        raise SettingsError(setting, value, "a number of days from 1 to 36500")
    return int(value)


def _switch(setting: str, value: str) -> bool:
    switch = _SWITCH.get(value.lower())
    if switch is None:
        raise SettingsError(setting, value, "0 or 1")
    return switch


def _names(value: str | None) -> frozenset[str]:
    return frozenset(name.strip() for name in (value or "").split(",") if name.strip())


def _bootstrap(value: str | None) -> str | None:
    if value is not None and not all(re.fullmatch(r"\S+:\d{1,5}", each.strip()) for each in value.split(",")):
        raise SettingsError("DATAFORGE_KAFKA_BOOTSTRAP", value, "brokers such as kafka-1:9092,kafka-2:9092")
    return value


def _topics(value: str) -> tuple[str, ...]:
    setting = "DATAFORGE_KAFKA_TOPICS"
    return tuple(dict.fromkeys(_topic(setting, name.strip()) for name in value.split(",")))


def _topic(setting: str, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", value):
        raise SettingsError(setting, value, "a name of letters, digits, dots, underscores and hyphens")
    return value


def _existing_file(setting: str, value: str | None, folder: Path) -> Path | None:
    if value is None:
        return None
    path = folder / Path(value).expanduser()
    if not path.is_file():
        raise SettingsError(setting, value, f"the path of a file ({path} is none)")
    return path
