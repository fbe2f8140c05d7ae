"""The WebSocket port of the simulated broker: it goes and comes back, behind a fault proxy if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random

from brokerpool.simulator.broker_interface import Pings
from brokerpool.simulator.fault_proxy.proxy import FaultProxy
from brokerpool.simulator.fault_proxy.toxics import Toxic
from brokerpool.simulator.shared_state import Venue
from brokerpool.transport import LinkHandler, LinkServer, Refusal, UpgradeRequest, serve


class SocketListener:
    """Lets `accept` answer every dial. With `toxics`, none of them included, clients come through a proxy."""

    def __init__(
        self,
        venue: Venue,
        accept: Callable[[UpgradeRequest], LinkHandler | Refusal],
        *,
        host: str,
        port: int,
        pings: Pings,
        toxics: Mapping[str, Toxic] | None,
        random: Random,
    ) -> None:
        self._venue = venue
        self._accept = accept
        self._host = host
        self._pings = pings
        self._toxics = None if toxics is None else dict(toxics)
        self._random = random
        self._front_port = port
        #: Where the broker itself listens.
        self._port = port if toxics is None else 0
        self._server: LinkServer | None = None
        self._switching = asyncio.Lock()
        #: There from `open` on, when there are toxics.
        self.proxy: FaultProxy | None = None

    @property
    def port(self) -> int:
        """Where clients dial."""
        return self.proxy.port if self.proxy else self._port

    async def open(self) -> None:
        """Begin to listen. Raises OSError when the address is taken."""
        await self.up()
        if self._toxics is not None:
            self.proxy = FaultProxy(self._host, self._port, port=self._front_port, random=self._random)
            for name, toxic in self._toxics.items():
                self.proxy.add(name, toxic)
            await self.proxy.start()

    async def close(self) -> None:
        """End every socket and stop listening; takes a few seconds at most, and may be called twice."""
        if self.proxy is not None:
            await self.proxy.close()
        async with self._switching:
            server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def down(self) -> None:
        """Abort every socket and stop listening for new ones: TCP is refused."""
        async with self._switching:
            self._venue.faults.down = True
            server, self._server = self._server, None
            if server is not None:
                for number in list(self._venue.sockets):
                    self._venue.link(number).abort()
                # An aborted connection is gone in the loop's next turn; until then `close` would still
                # say goodbye to it.
                await asyncio.sleep(0)
                await server.close()

    async def up(self) -> None:
        """Listen again, on the same port. Raises OSError when another program has taken it."""
        async with self._switching:
            if self._server is None:
                self._server = await serve(
                    self._accept,
                    self._host,
                    self._port,
                    ping_interval=self._pings.seconds,
                    ping_timeout=self._pings.patience,
                )
                self._port = self._server.port
            self._venue.faults.down = False
