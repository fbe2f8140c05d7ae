"""What Alembic runs: the steps, on the connection and in the transaction of `brokerpool.store.upgrade`."""

from __future__ import annotations

from alembic import context

attributes = context.config.attributes
context.configure(connection=attributes["connection"], version_table=attributes["version_table"])
context.run_migrations()
