"""A TCP proxy with faults: it stands in front of any server and spoils what passes, as the toxics say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from random import Random
from types import TracebackType
from typing import Any, Self

from brokerpool.simulator.fault_proxy.connection import ProxiedConnection, close_with_reset
from brokerpool.simulator.fault_proxy.toxics import Toxic, describe

_LOOPBACK = "127.0.0.1"
_BACKLOG = 100
_DIAL_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_PAUSE_SECONDS = 1.0


class FaultProxy:
    """Passes TCP from a loopback port on to a server, and its toxics spoil it; `async with` opens and closes.

    A toxic takes effect on open connections at once, both when it comes and when it goes. `random` draws
    jitter, sizes of slices, and which connections a toxic of a toxicity below 1 hits. Listening ends and
    connections are cut before `down` and `close` wait, so also for a caller who is cancelled.
    """

    def __init__(
        self, target_host: str, target_port: int, *, port: int = 0, random: Random | None = None
    ) -> None:
        self._target = (target_host, target_port)
        self._random = random or Random()
        self._toxics: dict[str, Toxic] = {}
        self._connections: set[ProxiedConnection] = set()
        self._total = 0
        #: Bytes that passed over connections that are gone: upstream, downstream.
        self._passed = (0, 0)
        self._idle = asyncio.Event()
        self._idle.set()
        #: Whether dials are taken.
        self.enabled = False
        #: Bound as long as the proxy lives: while it is down, the port is not given out as a free one.
        self._socket: socket.socket | None = None
        self._port = port

    # -- life ---------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where clients dial on loopback; 0 before the start when any free port was asked for."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._socket = _bound(self._port)
        self._port = self._socket.getsockname()[1]
        try:
            await self.up()
        except OSError:
            self._release()
            raise

    async def close(self) -> None:
        """Cut every connection and stop listening; takes seconds at most, and may be called twice."""
        self._release()
        await self._emptied()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<FaultProxy {self._port} -> {self._target}, {len(self._connections)} connections>"

    # -- to look at ---------------------------------------------------------------------------------------

    def toxics(self) -> list[dict[str, Any]]:
        """Return the toxics, the first added first, ready for JSON."""
        return [describe(name, toxic) for name, toxic in self._toxics.items()]

    def report(self) -> dict[str, Any]:
        """Return whether it listens, and the counters since the start; bytes count when they have left."""
        up, down = self._passed
        return {
            "enabled": self.enabled,
            "port": self._port,
            "connections": len(self._connections),
            "connections_total": self._total,
            "upstream_bytes": up + sum(c.upstream.passed for c in self._connections),
            "downstream_bytes": down + sum(c.downstream.passed for c in self._connections),
        }

    # -- to steer -----------------------------------------------------------------------------------------

    def add(self, name: str, toxic: Toxic) -> None:
        """Spoil open and future connections. Raises ValueError when there is a toxic of that name."""
        if name in self._toxics:
            raise ValueError(f"there is a toxic {name!r} already; remove it first, or use another name")
        self._toxics[name] = toxic
        for connection in list(self._connections):
            self._infect(connection, name, toxic)

    def remove(self, name: str) -> None:
        """Heal open and future connections. Raises LookupError when there is no toxic of that name."""
        if name not in self._toxics:
            raise LookupError(f"there is no toxic {name!r}; there are {sorted(self._toxics)}")
        toxic = self._toxics.pop(name)
        for connection in list(self._connections):
            connection.way(toxic).cure(name)

    def clear(self) -> None:
        """Remove every toxic."""
        for name in list(self._toxics):
            self.remove(name)

    def cut(self) -> None:
        """Reset every open connection, on both sides."""
        for connection in list(self._connections):
            connection.reset()

    async def down(self) -> None:
        """Refuse connections and cut the open ones."""
        if self.enabled:
            self._release()
            self._socket = _bound(self._port)
            await self._emptied()

    async def up(self) -> None:
        """Listen, on the same port as before. Raises OSError when another program has taken it."""
        if self._socket is None:
            raise RuntimeError("the proxy is not started")
        if not self.enabled:
            self._socket.listen(_BACKLOG)
            self._listen(self._socket)
            self.enabled = True

    # -- inside -------------------------------------------------------------------------------------------

    # Sockets are accepted here and not by an asyncio server, which forgets those that it has just accepted
    # when it is closed.

    def _listen(self, listener: socket.socket) -> None:
        if listener is self._socket:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _release(self) -> None:
        """Give the port back."""
        self.enabled = False
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    async def _emptied(self) -> None:
        """Cut everything and wait until it is gone."""
        dials = [connection.dial for connection in self._connections if connection.dial]
        self.cut()
        await asyncio.gather(*dials, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._idle.wait()

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            # Out of descriptors, most likely; asked again at once it would only be told again at once.
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(_PAUSE_SECONDS, self._listen, listener)
            _tell("the fault proxy cannot accept a connection", error)
            return
        sock.setblocking(False)
        connection = ProxiedConnection(self._random, self._gone)
        self._connections.add(connection)
        self._idle.clear()
        self._total += 1
        connection.dial = asyncio.create_task(self._join(connection, sock))
        connection.dial.add_done_callback(lambda dial: self._joined(dial, connection, sock))

    async def _join(self, connection: ProxiedConnection, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection.client, sock)
            for name, toxic in self._toxics.items():
                self._infect(connection, name, toxic)
            async with asyncio.timeout(_DIAL_SECONDS):
                await loop.create_connection(lambda: connection.server, *self._target)
        except OSError:
            # There is no server: the client sees what it would see of one that dies as it dials.
            connection.reset()
        except BaseException:
            connection.reset()
            raise

    def _joined(self, dial: asyncio.Task[None], connection: ProxiedConnection, sock: socket.socket) -> None:
        if not connection.client.made:
            # Cancelled so early that nobody else owns the socket.
            close_with_reset(sock)
            sock.close()
            self._gone(connection)
        if not dial.cancelled() and (error := dial.exception()) is not None:
            _tell("the fault proxy cannot dial its target", error)

    def _infect(self, connection: ProxiedConnection, name: str, toxic: Toxic) -> None:
        if self._random.random() < toxic.toxicity:
            connection.way(toxic).infect(name, toxic)

    def _gone(self, connection: ProxiedConnection) -> None:
        self._connections.discard(connection)
        up, down = self._passed
        self._passed = up + connection.upstream.passed, down + connection.downstream.passed
        if not self._connections:
            self._idle.set()


def _bound(port: int) -> socket.socket:
    """Return a socket that holds a port and does not listen: until it does, dials are refused."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would share the port with whoever has it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((_LOOPBACK, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _tell(message: str, error: BaseException) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
