"""Gateway API keys and the broker's credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the two tables whose writes are acknowledged."""
    keys = op.create_table(
        "brokerpool_api_keys",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("last_used_ms", sa.BigInteger),
        sa.Column("revoked_ms", sa.BigInteger),
    )
    op.create_index(
        "brokerpool_api_keys_active_name",
        "brokerpool_api_keys",
        ["name"],
        unique=True,
        sqlite_where=keys.c.revoked_ms.is_(None),
        postgresql_where=keys.c.revoked_ms.is_(None),
    )
    op.create_table(
        "brokerpool_broker_credentials",
        sa.Column("broker", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("secret_key_id", sa.String(16), nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("broker", "version"),
    )
