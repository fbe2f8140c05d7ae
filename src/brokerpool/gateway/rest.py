"""The HTTP listener: statistics, the journal and a sign of life."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI

from brokerpool.monitor.journal import Journal

_STOP_SECONDS = 3.0


def _application(stats: Callable[[], dict[str, Any]], journal: Journal) -> FastAPI:
    app = FastAPI(title="brokerpool", docs_url=None, redoc_url=None)

    @app.get("/stats")
    async def _stats() -> dict[str, Any]:
        """The numbers of `get_pool_stats()` and of the gateway."""
        return stats()

    @app.get("/journal")
    async def _journal(after: int = 0) -> dict[str, list[dict[str, Any]]]:
        """What happened to the connections, oldest first: the entries with a number above `after`."""
        entries = [{**entry._asdict(), "event": entry.event.value} for entry in journal.entries(after)]
        return {"entries": entries}

    @app.get("/health/live")
    async def _live() -> dict[str, str]:
        """Answers as long as the event loop turns."""
        return {"status": "live"}

    return app


class _Uvicorn(uvicorn.Server):
    """uvicorn as a part of a process that handles its signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class RestServer:
    """The running HTTP listener."""

    def __init__(self, sock: socket.socket, app: FastAPI) -> None:
        self.port = int(sock.getsockname()[1])
        self._server = _Uvicorn(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
            )
        )
        self._task = asyncio.create_task(self._server.serve(sockets=[sock]), name="brokerpool http")

    async def close(self) -> None:
        """Stop listening; requests under way have a second to finish."""
        self._server.should_exit = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._task, _STOP_SECONDS)


async def serve_rest(
    host: str, port: int, stats: Callable[[], dict[str, Any]], journal: Journal
) -> RestServer:
    """Listen for HTTP; port 0 takes any free one. Raises OSError when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, port), family=family, backlog=128)
    return RestServer(sock, _application(stats, journal))
