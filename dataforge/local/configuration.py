"""The supervisor's configuration file: which processes there are, and how each is started and stopped.

Guarantees that the text says all that the processes depend on, so that two equal texts mean that nothing
needs a restart; secrets are in it only as a hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from pathlib import Path

from dataforge import __version__
from dataforge.local import dagster, workspace
from dataforge.local.layout import Layout
from dataforge.local.postgres import Server
from dataforge.settings import Settings, as_environ

POSTGRES = "postgres"
API = "api"
WORKER = "worker"
CONSUMER = "consumer"
WEBSERVER = "dagster-webserver"
DAEMON = "dagster-daemon"
# They are stopped from the highest to the lowest: the API and Dagster's runs still write to the database as they end.
_PRIORITY = {POSTGRES: 1, API: 2, WORKER: 2, CONSUMER: 2}
_CODE_SERVER_PRIORITY, _DAGSTER_PRIORITY = 3, 4
# Runs and their steps are processes in the group of the code server: whoever stops it stops them.
_DAGSTER_STOP = "stopsignal=TERM\nstopasgroup=true\nkillasgroup=true\nstopwaitsecs=20"
# The webserver alone keeps connections: the daemon, code servers and runs open one for each use. By default it trusts
# one that is younger than an hour, and after a restart of PostgreSQL the first use of each would fail, however much
# later. One second: a page's questions share a connection, and no restart is quicker. A new one takes milliseconds.
_FRESH = ["--db-pool-recycle", "1"]


def render(settings: Settings, layout: Layout) -> str:
    """The whole file. Programs start on demand, since each needs the one before it to answer first."""
    return "\n".join(
        [_supervisor(settings, layout), *_programs(settings, layout), *_dagster_programs(settings, layout)]
    )


def process_names(settings: Settings, layout: Layout) -> list[str]:
    """The processes of an installation, in the order of their dependence."""
    core = [*([] if settings.database_url else [POSTGRES]), API, *workers(settings)]
    return [*core, *code_servers(settings, layout), WEBSERVER, DAEMON] if settings.dagster else core


def workers(settings: Settings) -> list[str]:
    """Those of them that work without being asked: the worker, and where a cluster is named the consumer of it."""
    return [WORKER, CONSUMER] if settings.kafka_bootstrap else [WORKER]


def code_servers(settings: Settings, layout: Layout) -> list[str]:
    """Those of them that load and run what Dagster's code locations define."""
    return [each.process for each in workspace.locations(settings, layout)]


def _supervisor(settings: Settings, layout: Layout) -> str:
    user = "user=root\n" if os.geteuid() == 0 else ""
    return f"""\
; written by `dataforge up`; changes are lost
; release {__version__}, settings {_fingerprint(settings)}
[supervisord]
logfile={_escaped(layout.log("supervisord"))}
pidfile={_escaped(layout.supervisor_pid)}
directory={_escaped(layout.home)}
umask=077
silent=true
{user}
[unix_http_server]
file={_escaped(layout.supervisor_socket)}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


def _programs(settings: Settings, layout: Layout) -> list[str]:
    server = Server.of(layout)
    api = _program(API, [sys.executable, "-m", "dataforge.api"], layout, "stopsignal=TERM\nstopwaitsecs=15")
    modules = {WORKER: ["dataforge.dispatch"], CONSUMER: ["dataforge.cli", "consume"]}
    served = [api]
    for name in workers(settings):
        command = [sys.executable, "-m", *modules[name]]
        served.append(_program(name, command, layout, "stopsignal=TERM\nstopwaitsecs=15"))
    if settings.database_url:
        return served
    stop = f"stopsignal={server.STOP_SIGNAL.name.removeprefix('SIG')}\nstopwaitsecs=60"
    account = f"user={server.account}\n" if server.account else ""
    return [_program(POSTGRES, server.command(), layout, account + stop), *served]


def _dagster_programs(settings: Settings, layout: Layout) -> list[str]:
    if not settings.dagster:
        return []
    served = ["-w", str(dagster.workspace_file(layout))]
    web = ["-m", "dagster_webserver", "-h", settings.host, "-p", str(settings.dagster_port), *_FRESH, *served]
    programs = [(each.process, each.arguments) for each in workspace.locations(settings, layout)]
    programs += [(WEBSERVER, web), (DAEMON, ["-m", "dagster._daemon", "run", *served])]
    return [_program(name, [sys.executable, *arguments], layout, _DAGSTER_STOP) for name, arguments in programs]


def _program(name: str, command: list[str], layout: Layout, more: str) -> str:
    return f"""\
[program:{name}]
command={_escaped(shlex.join(command))}
autostart=false
autorestart=true
redirect_stderr=true
stdout_logfile={_escaped(layout.log(name))}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
priority={_priority(name)}
{more}
"""


def _priority(name: str) -> int:
    return _PRIORITY.get(name, _DAGSTER_PRIORITY if name in (WEBSERVER, DAEMON) else _CODE_SERVER_PRIORITY)


def _fingerprint(settings: Settings) -> str:
    instance = dagster.instance_configuration() if settings.dagster else ""
    known = json.dumps([as_environ(settings), instance], sort_keys=True)
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def _escaped(value: str | Path) -> str:
    return str(value).replace("%", "%%")
