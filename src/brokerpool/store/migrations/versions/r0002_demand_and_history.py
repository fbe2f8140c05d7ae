"""The saved demand, and the history: journal, pool statistics, HTTP calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables that the writer fills."""
    op.create_table(
        "brokerpool_saved_demand",
        sa.Column("broker", sa.String(32), nullable=False),
        sa.Column("exchange", sa.String(32), nullable=False),
        sa.Column("symbol", sa.String(128), nullable=False),
        sa.Column("mode", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("broker", "exchange", "symbol"),
    )
    _history(
        "brokerpool_journal",
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("connection", sa.String(64), nullable=False),
        sa.Column("symbols", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    _history("brokerpool_pool_statistics", sa.Column("statistics", sa.JSON, nullable=False))
    _history(
        "brokerpool_http_calls",
        sa.Column("endpoint", sa.String(256), nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("duration_ms", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
    )


def _history(name: str, *columns: sa.Column[object]) -> None:
    op.create_table(
        name,
        sa.Column("run", sa.String(32), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("run", "number"),
    )
    op.create_index(f"{name}_at", name, ["at_ms"])
