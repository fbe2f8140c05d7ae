"""The gateway's clients, and a second line to the broker, the reference: how long a tick takes to arrive.

Reads its settings from the first line of stdin, then obeys "start" and "stop"; answers in JSON lines.

The broker writes each tick to gateway and reference in one go, and the volume of a symbol never
stands still, so symbol and volume tell which tick a client's frame is. The kernel stamps what arrives at
either: that this process has to wait for its processor counts for nothing.
"""

from __future__ import annotations

import gc
import json
import selectors
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypedDict
from urllib.parse import urlsplit

from .wire import BINARY, CLOSE, PING, PONG, TEXT, Line, give_way

#: Of delays: microseconds.
BUCKET_US = 10

_TICK = b'{"type":"market_data","symbol":"'
_VOLUME = b'"volume":'
#: A packet of the mode "quote" behind its length: the token and, 12 bytes on, the volume.
_QUOTE = struct.Struct(">2xI12xI24x")
#: What came on the reference is kept for so long at least; a frame that is later is counted apart.
_REMEMBERED_SECONDS = 15.0


class Plan(TypedDict):
    """What the process is told to begin with."""

    ws_port: int
    api_key: str
    broker_url: str
    #: By token, as the broker spells them in its packets.
    names: dict[str, str]
    #: For each client the symbols that it wants.
    wanted: list[list[dict[str, str]]]
    seconds: int


class Reference:
    """Gets every tick straight from the broker, and remembers when it came."""

    def __init__(self, plan: Plan) -> None:
        url = urlsplit(plan["broker_url"])
        self.line = Line(url.port or 0, f"/?{url.query}")
        self._names = {int(token): name.encode() for token, name in plan["names"].items()}
        tokens = list(self._names)
        self.line.send(json.dumps({"a": "subscribe", "v": tokens}).encode())
        self.line.send(json.dumps({"a": "mode", "v": ["quote", tokens]}).encode())
        self._seen: dict[bytes, float] = {}
        self._before: dict[bytes, float] = {}
        self._turned = time.time()
        self.ticks = 0

    def read(self) -> None:
        """Take what has come."""
        came, frames = self.line.read()
        for opcode, payload in frames:
            if opcode == PING:
                self.line.send(payload, PONG)
            elif opcode == BINARY and (len(payload) - 2) % _QUOTE.size == 0:
                for token, volume in _QUOTE.iter_unpack(memoryview(payload)[2:]):
                    self._seen[b"%b:%d" % (self._names[token], volume)] = came
                    self.ticks += 1
        if came - self._turned > _REMEMBERED_SECONDS:
            self._before, self._seen, self._turned = self._seen, {}, came

    def when(self, tick: bytes) -> float | None:
        """Return when a tick came, None if it has not been seen."""
        return self._seen.get(tick) or self._before.get(tick)


class Client:
    """One client of the gateway, until it is let go."""

    def __init__(
        self, plan: Plan, symbols: list[dict[str, str]], take: Callable[[float, bytes], None]
    ) -> None:
        self._take = take
        self.line = Line(plan["ws_port"])
        self._ask(action="authenticate", api_key=plan["api_key"])
        self._ask(action="subscribe", symbols=symbols, mode=2)

    def _ask(self, **request: object) -> None:
        self.line.send(json.dumps(request).encode())
        while True:
            for opcode, payload in self.line.read()[1]:
                if opcode != TEXT or payload.startswith((_TICK, b'{"type":"feed_status"')):
                    continue
                if json.loads(payload)["status"] != "success":
                    raise ConnectionError(f"the gateway answered {payload[:200].decode()}")
                return

    def read(self) -> None:
        """Take what has come; raises ConnectionError when the gateway lets go of this client."""
        came, frames = self.line.read()
        for opcode, payload in frames:
            if opcode == TEXT and payload.startswith(_TICK):
                if b'"snapshot":true' not in payload:
                    at = payload.index(_VOLUME) + len(_VOLUME)
                    symbol = payload[len(_TICK) : payload.index(b'"', len(_TICK))]
                    self._take(came, symbol + b":" + payload[at : payload.index(b",", at)])
            elif opcode == PING:
                self.line.send(payload, PONG)
            elif opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big")
                raise ConnectionError(f"closed with {code} {payload[2:].decode(errors='replace')}")


class Delays:
    """The delays of one window."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._early: list[tuple[float, bytes]] = []
        self.start()

    def start(self) -> None:
        """Begin a window."""
        self._began, self._ticks = time.monotonic(), self._reference.ticks
        self._buckets: Counter[int] = Counter()
        self._most = 0.0
        self._frames = self._unknown = 0

    def take(self, came: float, tick: bytes) -> None:
        """Count one frame."""
        self._frames += 1
        since = self._reference.when(tick)
        if since is None:
            self._early.append((came, tick))  # the broker wrote to the gateway first
        else:
            self._count(came - since)

    def settle(self) -> None:
        """Count the frames that came before the reference had their tick; to be called after it was read."""
        early, self._early = self._early, []
        for came, tick in early:
            since = self._reference.when(tick)
            if since is not None:
                self._count(came - since)
            elif time.time() - came < 1.0:
                self._early.append((came, tick))
            else:
                self._unknown += 1

    def stop(self) -> dict[str, object]:
        """Return what the window brought."""
        return {
            "seconds": time.monotonic() - self._began,
            "ticks": self._reference.ticks - self._ticks,
            "frames": self._frames,
            "unknown": self._unknown,
            "buckets": self._buckets,
            "most_us": self._most * 1e6,
        }

    def _count(self, seconds: float) -> None:
        self._buckets[max(0, int(seconds * 1e6)) // BUCKET_US] += 1
        self._most = max(self._most, seconds)


def serve(plan: Plan) -> None:
    """Connect everybody, say so, and obey stdin until it ends."""
    reference = Reference(plan)
    delays = Delays(reference)
    clients = [Client(plan, symbols, delays.take) for symbols in plan["wanted"]]
    lost: list[str] = []
    selector = selectors.EpollSelector()
    for client in clients:
        selector.register(client.line.socket, selectors.EVENT_READ, client)
    selector.register(reference.line.socket, selectors.EVENT_READ, reference)
    selector.register(sys.stdin.buffer, selectors.EVENT_READ)
    _say(ready=len(clients))
    while True:
        found = [key.data for key, _ in selector.select()]
        if reference in found:  # before what comes of it
            reference.read()
            delays.settle()
        for client in _clients(found):
            try:
                client.read()
            except OSError as error:
                lost.append(str(error))
                selector.unregister(client.line.socket)
        if None in found:
            match sys.stdin.buffer.readline().strip():
                case b"start":
                    delays.start()
                case b"stop":
                    _say(**delays.stop(), lost=lost)
                case b"":
                    return


def _clients(found: Sequence[object]) -> list[Client]:
    return [one for one in found if isinstance(one, Client)]


def _say(**members: Any) -> None:  # noqa: ANN401  # whatever JSON can say
    print(json.dumps(members), flush=True)


if __name__ == "__main__":
    told: Plan = json.loads(sys.stdin.buffer.readline())
    signal.alarm(told["seconds"])
    give_way()
    gc.disable()  # nothing here goes in circles, and a collection would look like the gateway's delay
    serve(told)
