"""What picows and aiofastnet, on which it runs, do otherwise than their callers need it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from picows import WSTransport


def read_on(tcp: asyncio.Transport) -> None:
    """Read from a paused transport again; not to be called while it reads.

    After a pause aiofastnet 1.2 reads the socket before it has read what it holds of a TLS stream: that waits
    until more comes, and fails when its buffer is full.
    """
    tcp.resume_reading()
    if (read_held := getattr(tcp, "_retry_ssl_read", None)) is not None:
        read_held()


def forget_the_end_of(transport: WSTransport) -> None:
    """See to it that why a dialled connection ended is no exception that nobody has retrieved.

    picows keeps it for whoever awaits the end. Here the handler is told, and nobody does.
    """
    waiting = transport.wait_disconnected()
    ended: asyncio.Future[None] = waiting.send(None)
    ended.add_done_callback(lambda future: future.cancelled() or future.exception())
    waiting.close()


class PicowsLog(logging.LoggerAdapter[logging.Logger]):
    """Writes what picows logs, except that a peer broke the protocol, which it would call an error."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401
        if not str(msg).startswith("WS parser error"):
            super().log(level, msg, *args, **kwargs)


#: What picows has to say; its two lines for every connection that comes and goes are left out.
picows_logger = PicowsLog(logging.getLogger("brokerpool.transport.picows"))
picows_logger.setLevel(logging.WARNING)
