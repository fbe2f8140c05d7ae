"""What scenes share that every broker plays: which brokers there are, and one of them behind a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dotenv import dotenv_values

from brokerpool.brokers import registry
from brokerpool.brokers.account import FullAccount
from brokerpool.brokers.login import Provider
from brokerpool.settings import AccountSettings, PoolSettings, Settings
from brokerpool.simulator.broker import SimulatedBroker
from brokerpool.simulator.registry import brokers
from tests import processes

#: By name, all that can be simulated. What a scene shows of one of them in full length stands first.
FIRST = PoolSettings.load(environ={}).broker
OTHERS = [name for name in brokers() if name != FIRST]
BROKERS = [FIRST, *OTHERS]


class Stage(NamedTuple):
    """A simulated broker and a gateway in front of it, each a process of its own."""

    broker: processes.Running
    gateway: processes.Running
    folder: Path
    #: Connections that the gateway may open there.
    connections: int
    #: Every instrument that the broker lists, as clients name it.
    rows: list[dict[str, str]]

    @property
    def key(self) -> str:
        """The key of the gateway's clients."""
        return processes.api_key(self.folder)

    async def seen(self, what: str) -> Any:
        """Return what the broker's control endpoint shows: `stats`, `sockets`."""
        return await asyncio.to_thread(processes.get, f"{self.broker.said['control_url']}/{what}")

    async def throw(self, **switches: object) -> None:
        """Throw switches of the broker."""
        await asyncio.to_thread(processes.post, f"{self.broker.said['control_url']}/faults", switches)

    async def stats(self) -> dict[str, Any]:
        """Return the gateway's statistics."""
        found: dict[str, Any] = await asyncio.to_thread(
            processes.get, f"{self.gateway.said['http_url']}/stats"
        )
        return found

    async def states(self) -> list[str]:
        """Return the state of each of the gateway's connections to the broker."""
        return [each["state"] for each in (await self.stats())["websocket"]["per_connection"]]

    def renew(self, token: str) -> None:
        """Write the token of a new login into the gateway's settings, as somebody does who has logged in."""
        file = self.folder / "sim.env"
        file.write_text(file.read_text().replace(self.token, token))

    @property
    def token(self) -> str:
        """What the first login gave: an access token, or the key where that is the login."""
        said: Mapping[str, str] = self.broker.said
        return said["api_key" if registry.broker(said["broker"]).key_is_login else "access_token"]

    def keeps_its_limits(self) -> dict[str, Any]:
        """Fail when the broker was ever asked for more than it allows; return its counters."""
        stats: dict[str, Any] = processes.get(f"{self.broker.said['control_url']}/stats")
        assert set(stats["violations"].values()) == {0}, stats
        assert stats["too_fast"] == {}
        return stats


@contextmanager
def staged(
    folder: Path, broker: str, *, each: int, rate: float, connections: int = 3, **settings: str
) -> Iterator[Stage]:
    """Run both until the block ends; each connection gets `each` symbols.

    Of the `connections` there are as many as the broker lets an account have.
    """
    connections = min(connections, registry.broker(broker).limits.max_connections)
    limits = {"MAX_SYMBOLS_PER_WEBSOCKET": str(each), "MAX_WEBSOCKET_CONNECTIONS": str(connections)}
    with (
        processes.simulator(folder, broker=broker, symbols=each * connections, rate=rate) as running,
        processes.gateway(folder, **limits | settings) as gateway,
    ):
        rows = listed(folder)
        assert len(rows) == each * connections
        yield Stage(running, gateway, folder, connections, rows)


def listed(folder: Path) -> list[dict[str, str]]:
    """Return what the broker of the folder's settings lists, as clients name it."""
    environ = {name: value for name, value in dotenv_values(folder / "sim.env").items() if value}
    (settings,) = Settings.load(environ=environ).accounts()
    book = asyncio.run(registry.broker(settings.broker).account(settings.access()).instruments())
    return [{"symbol": instrument.symbol, "exchange": instrument.exchange} for instrument in book]


async def account(simulator: SimulatedBroker, provider: Provider | None = None) -> FullAccount:
    """Return the account that a simulator of this process serves, with today's list."""
    written = {"ws_url": simulator.ws_url, "http_url": simulator.http_url, **simulator.credentials()}
    settings = AccountSettings.model_validate({"name": simulator.name, "broker": simulator.name, **written})
    found = registry.broker(simulator.name).account(settings.access(provider=provider))
    found.relist(await found.instruments())
    return found
