"""Connections whose line is alive and whose other end is not what it was: read-only, broken, or moved."""

from __future__ import annotations

import logging
import time
from typing import Any

from sqlalchemy import ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine

from brokerpool.db.error_classification import driver_meaning
from brokerpool.errors import ErrorCode

logger = logging.getLogger("brokerpool.db")

# What another connection may be free of; a full disk or a lock would be the same for it.
_OF_THE_CONNECTION = {
    ErrorCode.DB_READ_ONLY,
    ErrorCode.DB_DISK_FAULT,
    ErrorCode.DB_DAMAGED,
    ErrorCode.DB_MOVED,
}

# One that is younger has found the database as it is now: giving it up would only cost another dial.
_YOUNG_SECONDS = 1.0
# Between two warnings.
_QUIET_SECONDS = 60.0

_OPENED = "brokerpool_opened"


class Role:
    """Gives up connections that were opened before the database changed its role, and remembers what it is.

    After a failover a connection may lead to a server that is a standby now, and answers every pre-ping. The
    first write that is refused ends it and all that are older than the refusal; the next ones are dialled.
    """

    def __init__(self, name: str) -> None:
        """`name` is the pool's, for the log."""
        self._name = name
        self._told_at = -_QUIET_SECONDS
        #: True when the newest connection, or the newest refusal, said that nothing can be written.
        self.read_only = False
        #: How often connections were given up for it.
        self.evictions = 0

    def listen(self, engine: AsyncEngine) -> None:
        """Look after the connections of this engine from now on."""
        event.listen(engine.sync_engine, "connect", self._connected)
        event.listen(engine.sync_engine, "handle_error", self._failed)

    # The signatures are those of SQLAlchemy's events.

    def _connected(self, connection: Any, record: Any) -> None:  # noqa: ANN401  (SQLAlchemy's event)
        record.info[_OPENED] = time.monotonic()
        before, refuses = self.read_only, _refuses_writes(connection.driver_connection)
        self.read_only = bool(refuses)
        if before and refuses is False:
            logger.info("%s: a new connection leads to a server that takes writes", self._name)

    def _failed(self, context: ExceptionContext) -> None:
        code = driver_meaning(context.original_exception)
        connection = context.connection
        if (
            code not in _OF_THE_CONNECTION
            or connection is None
            or connection.closed
            or connection.invalidated
        ):
            return
        driver = connection.connection.driver_connection
        # A server that says it takes writes refused this one because of the caller's own READ ONLY.
        if _chosen_read_only(driver) or _refuses_writes(driver) is False:
            return
        self.read_only = self.read_only or code is ErrorCode.DB_READ_ONLY
        opened = connection.info.get(_OPENED, 0.0)
        if time.monotonic() - opened < _YOUNG_SECONDS:
            return
        self.evictions += 1
        context.is_disconnect = True
        if time.monotonic() - self._told_at >= _QUIET_SECONDS:
            self._told_at = time.monotonic()
            logger.warning("%s: %s; its open connections are replaced by new ones", self._name, code.name)


def _refuses_writes(driver: Any) -> bool | None:  # noqa: ANN401  (PgConnection or aiosqlite.Connection)
    reported: bool | None = getattr(driver, "refuses_writes", None)
    return reported


def _chosen_read_only(driver: Any) -> bool:  # noqa: ANN401  (PgConnection or aiosqlite.Connection)
    return getattr(driver, "read_only", None) is True
