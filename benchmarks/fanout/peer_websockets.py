"""The peer that Python programmers would write: `websockets.broadcast` to the subscribers of each symbol.

Takes lines `SYMBOL JSON` on a TCP port and sends each JSON text to the clients that asked for the symbol.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import defaultdict

from websockets.asyncio.server import ServerConnection, broadcast, serve

subscribers: defaultdict[str, set[ServerConnection]] = defaultdict(set)


class Feed(asyncio.Protocol):
    """Broadcasts each line as it comes; while it does so the feed waits, so nothing queues up in here."""

    def __init__(self) -> None:
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            symbol, _, message = line.decode().partition(" ")
            broadcast(subscribers[symbol], message)


async def client(connection: ServerConnection) -> None:
    """Subscribe the client to the list of symbols that is its first message."""
    symbols: list[str] = json.loads(await connection.recv())
    for symbol in symbols:
        subscribers[symbol].add(connection)
    await connection.send('{"type":"subscribe","status":"success"}')
    await connection.wait_closed()
    for symbol in symbols:
        subscribers[symbol].discard(connection)


async def main() -> None:
    """Serve until SIGTERM; the first line on stdout tells both ports."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    feed = await loop.create_server(Feed, "127.0.0.1", 0)
    async with serve(client, "127.0.0.1", 0, compression=None, max_size=None) as server:
        ports = {
            "port": server.sockets[0].getsockname()[1],
            "feed_port": feed.sockets[0].getsockname()[1],
        }
        print(json.dumps(ports), flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
