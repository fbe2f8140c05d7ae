"""The tables as the newest revision leaves them; a test compares them with what the migrations make."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

metadata = MetaData()

# All times are epoch milliseconds. The names have a prefix because DATABASE_URL is a name that other programs
# use too, OpenAlgo among them, and may lead to a database with tables of theirs.

api_keys = Table(
    "brokerpool_api_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)

#: A name belongs to one key at a time; a revoked key gives it free.
active_name = Index(
    "brokerpool_api_keys_active_name",
    api_keys.c.name,
    unique=True,
    sqlite_where=api_keys.c.revoked_ms.is_(None),
    postgresql_where=api_keys.c.revoked_ms.is_(None),
)

broker_credentials = Table(
    "brokerpool_broker_credentials",
    metadata,
    Column("account", String(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("secret_key_id", String(16), nullable=False),
    Column("sealed", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "version"),
)

saved_demand = Table(
    "brokerpool_saved_demand",
    metadata,
    Column("account", String(32), nullable=False),
    Column("exchange", String(32), nullable=False),
    Column("symbol", String(128), nullable=False),
    Column("mode", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    PrimaryKeyConstraint("account", "exchange", "symbol"),
)


def _history(name: str, *columns: Column[object]) -> Table:
    # `run` is made up at each start and `number` counts in it, so that a batch which is written twice
    # because nobody knows whether its commit arrived is in the table once.
    table = Table(
        name,
        metadata,
        Column("run", String(32), nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("at_ms", BigInteger, nullable=False),
        *columns,
        PrimaryKeyConstraint("run", "number"),
    )
    Index(f"{name}_at", table.c.at_ms)
    return table


journal = _history(
    "brokerpool_journal",
    Column("event", String(32), nullable=False),
    Column("connection", String(64), nullable=False),
    Column("symbols", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)

pool_statistics = _history("brokerpool_pool_statistics", Column("statistics", JSON, nullable=False))

http_calls = _history(
    "brokerpool_http_calls",
    Column("endpoint", String(256), nullable=False),
    Column("status", Integer),
    Column("duration_ms", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
)
