"""Logins and the saved demand belong to an account, of which a broker may have several.

An account without a name of its own is called as its broker, so every row keeps its value.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Call the column what it holds from now on; no row changes."""
    for table in ("brokerpool_broker_credentials", "brokerpool_saved_demand"):
        op.alter_column(table, "broker", new_column_name="account")
