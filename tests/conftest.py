"""For all tests: no hidden deadlines, and one PostgreSQL for those that need it."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

from tests.database import PostgresServer
from tests.postgres import server

# How long an example takes depends on who else is at work; what has to be quick is measured where it matters.
hypothesis.settings.register_profile("brokerpool", deadline=None)
hypothesis.settings.load_profile("brokerpool")


@pytest.fixture(scope="session")
def postgres() -> PostgresServer:
    return server()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return server().fresh_database()
