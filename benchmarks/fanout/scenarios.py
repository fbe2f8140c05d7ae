"""The loads: how many clients, which symbols each, how many ticks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """One load; `each` symbols of a client are drawn for each one anew, 0 means all of them."""

    key: str
    title: str
    peers: tuple[str, ...]
    clients: int
    symbols: int
    each: int = 0
    #: Ticks a second; 0 is saturation: as many as the peer takes.
    rate: int = 0
    #: Ticks in one message of the feed.
    batch: int = 20
    #: Broker connections of the gateway.
    sockets: int = 1
    #: Gateways one behind the other, the clients at the last one.
    hops: int = 1
    #: Seconds before the window, and of the window itself.
    warmup: float = 1.0
    window: float = 3.0
    rounds: int = 3
    #: Wait for the last tick after the window and count what never came.
    settles: bool = False
    #: Clients that stop reading in every other window, and how many such pairs of windows there are.
    stalling: int = 0
    pairs: int = 0

    @property
    def frames_per_tick(self) -> float:
        """How many clients want a tick, on average."""
        return self.clients * (self.each or self.symbols) / self.symbols


ALL = ("ours", "nats", "websockets")

SCENARIOS = (
    Scenario(
        "saturation100", "saturation, 100 clients x all of 1,000 symbols", ALL, clients=100, symbols=1000
    ),
    Scenario(
        "saturation1000",
        "saturation, 1,000 clients x 100 of 1,000 symbols",
        ALL,
        clients=1000,
        symbols=1000,
        each=100,
    ),
    Scenario(
        "fixed100k",
        "100,000 frames/s: 100 clients x all, 1,000 ticks/s",
        ALL,
        clients=100,
        symbols=1000,
        rate=1000,
        settles=True,
    ),
    Scenario(
        "light",
        "5,000 frames/s: 10 clients x all, 500 single ticks/s",
        ALL,
        clients=10,
        symbols=1000,
        rate=500,
        batch=1,
        rounds=5,
        settles=True,
    ),
    Scenario(
        "kite",
        "Kite in, JSON out: 3 sockets, 20,000 ticks/s, 50 clients x 300 of 3,000 symbols",
        ("ours",),
        clients=50,
        symbols=3000,
        each=300,
        rate=20000,
        sockets=3,
        settles=True,
    ),
    Scenario(
        "memory",
        "saturation for 15 s, 100 clients x all of 1,000 symbols",
        ("ours",),
        clients=100,
        symbols=1000,
        warmup=5.0,
        window=15.0,
        rounds=1,
    ),
    Scenario(
        "stall",
        "100,000 frames/s: 10 clients x all, 10,000 ticks/s, one stops reading",
        ("ours",),
        clients=11,
        symbols=1000,
        rate=10000,
        warmup=1.2,
        window=1.0,
        rounds=1,
        stalling=1,
        pairs=9,
    ),
)
