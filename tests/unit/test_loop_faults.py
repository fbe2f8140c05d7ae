"""What the event loop reports: floods that strangers cause are one line a minute, everything else is told."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from typing import Any

import pytest

from brokerpool.gateway.loop_faults import LoopFaults
from tests.clock import Clock


def exhausted() -> dict[str, Any]:
    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return {"message": "socket.accept() out of system resource", "exception": error, "socket": object()}


def test_attempts_without_a_descriptor_are_one_line_a_minute_with_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    report, loop = LoopFaults(clock), asyncio.new_event_loop()
    for _ in range(121):
        for _ in range(64):
            report(loop, exhausted())
        clock.now += 1.0
    loop.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert "3840 attempts" in caplog.text
    assert "BROKERPOOL_MAX_CLIENTS" in caplog.text


def test_a_clients_fault_is_no_line_and_one_of_ours_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report, loop = LoopFaults(Clock()), asyncio.new_event_loop()
    report(loop, {"message": "late", "exception": TimeoutError(), "future": object()})
    report(loop, {"message": "SSL handshake failed", "exception": OSError("no TLS")})
    assert caplog.records == []
    report(loop, {"message": "a callback raised", "exception": OSError(errno.EMFILE, "elsewhere")})
    loop.close()
    assert "a callback raised" in caplog.text


def test_the_systems_backlog_is_long_and_asyncio_takes_few_at_once() -> None:
    """Hundreds of clients that come in one moment are all let in, a share of them in each turn."""
    from brokerpool.transport import LinkHandler, serve

    async def main() -> None:
        server = await serve(lambda request: LinkHandler(), "127.0.0.1", 0)
        socks = []
        for _ in range(300):
            sock = socket.socket()
            sock.settimeout(5)
            sock.connect(("127.0.0.1", server.port))  # the loop stands still: the system takes them all
            socks.append(sock)
        assert server._servers[0]._backlog == 64  # type: ignore[attr-defined]
        for sock in socks:
            sock.close()
        await server.close()

    asyncio.run(main())
