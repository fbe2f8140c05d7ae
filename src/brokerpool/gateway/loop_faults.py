"""What the event loop reports when nobody else can: a flood that strangers cause is a line of the log."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("brokerpool.gateway")

#: Seconds between two lines about connections that cannot be taken in.
QUIET_SECONDS = 60.0

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class LoopFaults:
    """The event loop's exception handler: knows what is a client's fault, and counts what comes in floods."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._told_at = -math.inf
        #: Attempts to take a connection in that failed since the last line about them.
        self._untold = 0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # picows keeps a client's late handshake as an exception that nobody collects; the connection was
        # closed as it should be, and a port scanner must not fill the log with tracebacks.
        if isinstance(error, TimeoutError) and "future" in context:
            logger.debug("a client did not finish its handshake in time")
        # Nor with one line for each client that speaks no TLS, or trusts another authority.
        elif str(context.get("message", "")).startswith("SSL handshake failed"):
            logger.debug("a client did not finish its TLS handshake")
        # picows cannot write down a version of the protocol that is no ASCII; the connection is closed.
        elif isinstance(error, UnicodeEncodeError) and "buffer_updated" in str(context.get("message", "")):
            logger.debug("a client asked for a version of WebSocket that cannot be told")
        elif isinstance(error, OSError) and error.errno in _EXHAUSTED and "socket" in context:
            self._no_room(error)
        else:
            loop.default_exception_handler(context)

    def _no_room(self, error: OSError) -> None:
        # asyncio tries again after a second, and so on.
        self._untold += 1
        now = self._clock()
        if now - self._told_at < QUIET_SECONDS:
            return
        logger.warning(
            "no connection can be taken in (%s; %d attempts since the last such line): those that are open go"
            " on, and new ones are tried again each second. Raise the limit of open files, or lower"
            " BROKERPOOL_MAX_CLIENTS.",
            error.strerror,
            self._untold,
        )
        self._told_at, self._untold = now, 0
