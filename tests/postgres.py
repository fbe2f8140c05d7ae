"""Databases of either kind for tests that need several: files, and one PostgreSQL for the whole run."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.database import PostgresServer, postgres_server

DIALECTS = ("sqlite", "postgresql")


@functools.cache
def server() -> PostgresServer:
    """Start PostgreSQL, without any set-up, for the rest of this process; it ends with it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(postgres_server())


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
