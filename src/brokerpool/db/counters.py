"""What a pool counts, most of it from SQLAlchemy's pool events."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine

from brokerpool.histogram import Histogram
from brokerpool.wait_queue import WaitTally

_DIALLED = "brokerpool_dialled"


class Tally(WaitTally):
    """The counters of one pool since it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.checkouts = 0
        self.connects = 0
        self.closes = 0
        self.ping_failures = 0
        self.invalidations = 0
        self.long_holds = 0
        self.leaks = 0
        self.holds = Histogram()
        self.dials = Histogram()

    @property
    def open(self) -> int:
        """Connections to the database that are open now."""
        return self.connects - self.closes

    def listen(self, engine: AsyncEngine) -> None:
        """Count what happens in the pool of this engine from now on."""
        event.listen(engine.sync_engine, "do_connect", self._dialling)
        event.listen(engine.sync_engine, "connect", self._connected)
        event.listen(engine.sync_engine, "close", self._closed)
        event.listen(engine.sync_engine, "close_detached", self._closed)
        event.listen(engine.sync_engine, "invalidate", self._invalidated)

    def stats(self) -> dict[str, Any]:
        """Return the counters under the names of the documentation."""
        return {
            **super().stats(),
            "checkouts": self.checkouts,
            "waits": self.waited,
            "timeouts": self.refused["DB_WAIT_TOO_LONG"],
            "connects": self.connects,
            "closes": self.closes,
            "ping_failures": self.ping_failures,
            "invalidations": self.invalidations,
            "long_holds": self.long_holds,
            "leaks": self.leaks,
            "hold_seconds": self.holds.stats(),
            "connect_seconds": self.dials.stats(),
        }

    # The signatures are those of SQLAlchemy's events.

    def _dialling(self, _dialect: Any, record: Any, _args: Any, _options: Any) -> None:  # noqa: ANN401  (SQLAlchemy's event)
        record.info[_DIALLED] = time.monotonic()

    def _connected(self, _connection: Any, record: Any) -> None:  # noqa: ANN401  (SQLAlchemy's event)
        self.connects += 1
        self.dials.observe(time.monotonic() - record.info.pop(_DIALLED))

    def _closed(self, *_: Any) -> None:  # noqa: ANN401  (SQLAlchemy's event)
        self.closes += 1

    def _invalidated(self, _connection: Any, _record: Any, error: BaseException | None) -> None:  # noqa: ANN401  (SQLAlchemy's event)
        self.invalidations += 1
        if isinstance(error, InvalidatePoolError):
            self.ping_failures += 1
