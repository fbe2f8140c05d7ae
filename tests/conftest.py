"""What all tests share: one PostgreSQL server for the whole run, started by the first test that needs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.database import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server
