"""Databases of either kind for tests that need several: files, and one PostgreSQL for the whole run."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.database import PostgresServer, postgres_server
from tests.postgres_programs import CannotRunError

DIALECTS = ("sqlite", "postgresql")

_running = ExitStack()


@functools.cache
def server() -> PostgresServer:
    """Start PostgreSQL, without any set-up, for the rest of the run; skips the test where it cannot run."""
    try:
        return _running.enter_context(postgres_server())
    except CannotRunError as error:
        pytest.skip(str(error))


def shut_down() -> None:
    """Stop that server, if a test asked for it, and remove its files."""
    server.cache_clear()
    _running.close()


def administer(*statements: str) -> None:
    """Run statements as the server's owner, outside any transaction."""
    for statement in statements:
        server().execute(statement)


@contextmanager
def database(dialect: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database until the block ends."""
    if dialect == "sqlite":
        yield f"sqlite:///{folder / 'store.db'}"
        return
    url = server().fresh_database()
    yield url
    administer(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
