"""How many statements the ledger sends."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest


def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every statement from now on until the test ends."""
    sent: list[object] = []
    execute = psycopg.Connection.execute

    def counting(self: psycopg.Connection[Any], query: Any, *given: Any, **more: Any) -> psycopg.Cursor[Any]:
        sent.append(query)
        return execute(self, query, *given, **more)

    monkeypatch.setattr(psycopg.Connection, "execute", counting)
    return sent
