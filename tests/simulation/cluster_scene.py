"""A cluster of one account or two for tests that say themselves what happens in it, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from brokerpool import Instrument, Mode
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.testing.virtual_loop import VirtualLoop
from tests.simulation.cluster_stage import (
    ACCOUNT,
    Account,
    GatewayProcess,
    NodeProcess,
    Processes,
    scripted_account,
)
from tests.simulation.cluster_witness import GatewayWitness
from tests.virtual_bus import VirtualServer

SYMBOLS = [Instrument("NSE", f"S{n:03}") for n in range(1, 7)]


class ClusterScene:
    """Who plays; every symbol trades at the same moments at all brokers."""

    def __init__(self, accounts: Sequence[str], limits: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop, self.random = loop, Random(1)
        self.server = VirtualServer(self.random)
        self.processes = Processes(loop)
        dials = (RateWindow(3, 1.0), RateWindow(30, 60.0))
        every = {"max_connections": 3, "dials": dials, **limits}
        self.accounts: list[Account] = []
        for name in accounts:
            market = self.accounts[0] if self.accounts else None
            made = scripted_account(name, self.random, len(SYMBOLS), every, market, beats=(2, 2))
            self.accounts.append(made)
        self.account, self.broker = self.accounts[0], self.accounts[0].broker
        self.nodes: list[NodeProcess] = []
        self.gateways: list[GatewayProcess] = []

    def node(self, name: str, *accounts: str) -> NodeProcess:
        """Begin a node that can hold these accounts, all of them where none is named."""
        able = [account for account in self.accounts if not accounts or account.name in accounts]
        node = NodeProcess(name, self.server, self.random, able)
        self.nodes.append(node)
        return node

    async def gateway(self, name: str, *accounts: str) -> tuple[GatewayProcess, GatewayWitness]:
        """Begin a gateway of these accounts, of all where none is named."""
        names = accounts or [account.name for account in self.accounts]
        gateway = GatewayProcess(name, self.server, self.random, names)
        self.gateways.append(gateway)
        witness = GatewayWitness(name, self.loop.wall_clock, gateway.epoch)
        gateway.upstream.listen(witness)
        await gateway.upstream.start()
        return gateway, witness

    async def watched(self, name: str) -> GatewayWitness:
        """Return the witness of a new gateway that wants every symbol, once each of them has ticked."""
        gateway, witness = await self.gateway(name)
        await gateway.upstream.want("me", SYMBOLS, Mode.QUOTE)
        witness.look(set(SYMBOLS))
        await self.until(lambda: not witness.silent(), 5)
        return witness

    def kill(self, node: NodeProcess) -> None:
        """End a node at once, with its sockets; it is closed with all others in the end."""
        self.processes.stop(node)
        node.bus.close()
        for account in self.accounts:
            account.broker.kill_sockets_of(node)

    def served(self) -> list[list[str]]:
        """Return which symbols each account's broker serves, by name, each as often as it serves it."""
        return [
            sorted(f"S{token:03}" for token, modes in account.broker.served().items() for _ in modes)
            for account in self.accounts
        ]

    async def until(self, holds: Callable[[], object], seconds: float) -> float:
        """Return how long it took until it holds; fails after so many seconds."""
        began = self.loop.time()
        while not holds():
            assert self.loop.time() - began < seconds, f"not within {seconds:g} s: {self.served()}"
            await asyncio.sleep(0.02)
        return self.loop.time() - began


@asynccontextmanager
async def cluster(
    *nodes: str, accounts: Sequence[str] = (ACCOUNT,), size: int = 6, **limits: Any
) -> AsyncIterator[ClusterScene]:
    """Give a cluster with these nodes; in the end all of it closes, and no limit may have been exceeded."""
    scene = ClusterScene(accounts, {"symbols_per_connection": size, **limits})
    for name in nodes:
        scene.node(name)
    yield scene
    for node in scene.nodes:
        scene.processes.go_on(node)
    for gateway in scene.gateways:
        await gateway.begin(gateway.upstream.close())
    for node in scene.nodes:
        await node.begin(node.node.close())
    await asyncio.sleep(3)
    for account in scene.accounts:
        await account.broker.close()
        violations = account.broker.ledger.violations
        assert not violations, violations
