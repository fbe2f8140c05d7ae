"""A cluster whose nodes, gateways, accounts and bus fail and return in random order, all from one seed.

Odd seeds have two accounts, of which the first has not room for all.

`python -m tests.simulation.cluster_swizzle` runs many seeds; with `--seed N` it replays one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from functools import partial
from random import Random

from brokerpool import Instrument, Mode
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.instruments import Token
from brokerpool.testing.virtual_loop import VirtualLoop
from tests.simulation.cluster_stage import (
    ACCOUNT,
    Account,
    GatewayProcess,
    NodeProcess,
    Process,
    Processes,
    scripted,
    scripted_account,
)
from tests.simulation.cluster_witness import GatewayWitness
from tests.simulation.seeds import Report, play_seeds, played
from tests.virtual_bus import Faults, VirtualServer

CHAOS_SECONDS = 20.0
#: Within this everything must be well again: a lease runs out, and a back-off of the pool's besides.
RECOVERY_SECONDS = 90.0
MAX_STEPS = 400_000
_SYMBOLS = 6
#: Sockets of an account, and symbols of each of them: where there is one account, and where there are two.
_ALONE, _FIRST, _SECOND = (3, 3), (2, 2), (2, 2)
#: No harm to a message.
_WELL = Faults(latency=(0.0005, 0.003))


def rehearse(seed: int) -> Report:
    """Play the seed's scenario to its end and report what the cluster did that it must not do."""
    report = Report(seed, program="cluster_swizzle")
    return played(report, _Rehearsal(seed, report).play, MAX_STEPS)


class _Rehearsal:
    def __init__(self, seed: int, report: Report) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.report = report
        self.nodes: list[NodeProcess] = []
        self.gateways: list[GatewayProcess] = []
        self.gone: list[Process] = []
        self.witnesses: dict[str, GatewayWitness] = {}
        self.numbered = Counter[str]()
        self.deeds = (
            *(self.cut_node, self.cut_node, self.stop_node, self.stop_node, self.kill_node, self.end_node),
            *(self.cut_gateway, self.stop_gateway, self.kill_gateway, self.bus_away, self.bus_forgets),
            *(self.harm_messages, self.harm_messages, self.kill_sockets),
            *((self.let_token_die, self.let_token_die) if seed % 2 else ()),
        )

    async def play(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.processes = Processes(loop)
        self.server = VirtualServer(self.random)
        self.server.faults = _WELL
        if self.seed % 2:
            first = self.account("first", *_FIRST)
            self.accounts = [first, self.account("second", *_SECOND, market=first)]
        else:
            self.accounts = [self.account(ACCOUNT, *_ALONE)]
        self.instruments = scripted(_SYMBOLS, {}).instruments
        for _ in range(2):
            self.new_node()
            self.new_gateway()
        watching = loop.create_task(self.watch())
        wanting = loop.create_task(self.want())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHAOS_SECONDS):
                await self.rage()
        self.heal()
        wanting.cancel()
        await self.recover()
        watching.cancel()
        await self.end()
        self.judge()

    def account(self, name: str, sockets: int, size: int, market: Account | None = None) -> Account:
        limits = {
            "symbols_per_connection": size,
            "max_connections": sockets,
            # Where each symbol is a message of its own, to ask for all of them takes seconds.
            "batch_size": (one := self.random.choice((100, 1))),
            "control_messages": (RateWindow(2 if one == 1 else 5, 1.0),),
            "account_messages": (RateWindow(6, 1.0),),
            "dials": (RateWindow(3, 1.0), RateWindow(20, 20.0)),
        }
        return scripted_account(name, self.random, _SYMBOLS, limits, market, snapshots=False)

    # -- who takes part -----------------------------------------------------------------------------------

    def new_node(self) -> None:
        self.numbered["node"] += 1
        name = f"node {self.numbered['node']}"
        self.nodes.append(NodeProcess(name, self.server, self.random, self.accounts))

    def new_gateway(self) -> None:
        self.numbered["gateway"] += 1
        name = f"gateway {self.numbered['gateway']}"
        names = [account.name for account in self.accounts]
        gateway = GatewayProcess(name, self.server, self.random, names)
        self.witnesses[name] = witness = GatewayWitness(name, self.loop.wall_clock, gateway.epoch)
        gateway.upstream.listen(witness)
        self.gateways.append(gateway)

    async def want(self) -> None:
        """Want and release at the gateways, for ever."""
        while True:
            await asyncio.sleep(self.random.expovariate(1.5))
            gateway = self.random.choice(self.gateways)
            if not self.processes.stopped(gateway):
                gateway.run(partial(self.change, gateway))

    def change(self, gateway: GatewayProcess) -> None:
        upstream, random = gateway.upstream, self.random
        owner = random.choice(("one", "two"))
        some = random.sample(self.instruments, random.randint(1, 4))
        if random.random() < 0.65:
            mode = random.choice((Mode.LTP, Mode.QUOTE, Mode.QUOTE))
            answer = upstream.want(owner, some, mode)
            self.look(gateway, some)
            answer.add_done_callback(lambda _: self.look(gateway))
            self.report.counts["wants"] += 1
        else:
            upstream.release(owner, some)
            self.look(gateway)

    def look(self, gateway: GatewayProcess, more: list[Instrument] | None = None) -> None:
        """Have the gateway's witness know what is wanted."""
        self.witnesses[gateway.name].look(gateway.wanted())

    # -- what goes wrong ----------------------------------------------------------------------------------

    async def rage(self) -> None:
        while True:
            await asyncio.sleep(self.random.expovariate(0.7))
            deed = self.random.choice(self.deeds)
            self.report.counts[deed.__name__] += 1
            self.say(deed.__name__)
            await deed()

    def say(self, what: str) -> None:
        self.accounts[0].broker.ledger.say(self.loop.time(), what)

    async def pause(self, most: float) -> None:
        await asyncio.sleep(self.random.uniform(0, most))

    def node(self) -> NodeProcess:
        """Return a node, the holder more often than another one."""
        holders = [node for node in self.nodes if node.node.held]
        return self.random.choice(holders if holders and self.random.random() < 0.7 else self.nodes)

    async def cut(self, process: Process) -> None:
        way = self.random.choice(((False, False), (False, True), (True, False)))
        process.bus.cut(sends=way[0], hears=way[1])
        await self.pause(8)
        process.bus.cut(sends=True, hears=True)

    async def cut_node(self) -> None:
        await self.cut(self.node())

    async def cut_gateway(self) -> None:
        await self.cut(self.random.choice(self.gateways))

    async def stop(self, process: Process) -> None:
        self.processes.stop(process)
        await self.pause(9)
        self.processes.go_on(process)

    async def stop_node(self) -> None:
        await self.stop(self.node())

    async def stop_gateway(self) -> None:
        await self.stop(self.random.choice(self.gateways))

    def kill(self, process: Process) -> None:
        """End a process at once: its sockets close, and nothing of it happens any more."""
        self.processes.stop(process)
        process.bus.close()
        for account in self.accounts:
            account.broker.kill_sockets_of(process)
        self.gone.append(process)

    async def kill_node(self) -> None:
        node = self.node()
        self.nodes.remove(node)
        self.kill(node)
        await self.pause(3)
        self.new_node()

    async def kill_gateway(self) -> None:
        gateway = self.random.choice(self.gateways)
        self.gateways.remove(gateway)
        self.kill(gateway)
        await self.pause(3)
        self.new_gateway()

    async def end_node(self) -> None:
        """Have a node hand over and end, as for an upgrade."""
        node = self.node()
        self.nodes.remove(node)
        ending = node.begin(node.node.close())
        if self.random.random() < 0.5:
            self.new_node()
            await ending
        else:
            await ending
            self.new_node()
        node.bus.close()

    async def bus_away(self) -> None:
        self.server.stop()
        await self.pause(10)
        self.server.start()

    async def bus_forgets(self) -> None:
        """Have the bus return without what it had stored."""
        self.server.stop()
        await self.pause(4)
        self.server.start(forgets=True)

    async def harm_messages(self) -> None:
        random = self.random
        self.server.faults = Faults(
            lost=random.choice((0.0, 0.02, 0.2)),
            doubled=random.choice((0.0, 0.2)),
            latency=random.choice(((0.0, 0.0), (0.001, 0.05), (0.1, 1.2))),
            reorders=random.random() < 0.5,
        )
        await self.pause(8)
        self.server.faults = _WELL

    async def kill_sockets(self) -> None:
        for account in self.accounts:
            account.broker.kill_all()

    async def let_token_die(self) -> None:
        """Let an account be out, for longer than others wait to stand in for it, until somebody logs in."""
        account = self.random.choice(self.accounts)
        account.die()
        await self.pause(15)
        account.log_in()

    # -- what must hold -----------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Notice two who may send at one moment, each by its own clock."""
        while True:
            await asyncio.sleep(0.05)
            running = [node for node in self.nodes if not self.processes.stopped(node)]
            for account in self.accounts:
                holders = [node.name for node in running if node.holds(account.name)]
                if len(holders) > 1:
                    self.report.problems.append(
                        f"{self.loop.time():.3f} {' and '.join(holders)} hold the account {account.name}"
                    )

    def heal(self) -> None:
        self.say("all faults are healed")
        for account in self.accounts:
            account.broker.heal()
            account.log_in()
        self.server.up = True
        self.server.faults = _WELL
        self.server.start()
        for process in (*self.nodes, *self.gateways):
            if self.processes.stopped(process):
                self.processes.go_on(process)
            process.bus.cut(sends=True, hears=True)

    async def recover(self) -> None:
        """Wait until all is well; what is not within the time is a problem."""
        healed = self.loop.time()
        while wrong := self.wrong():
            if self.loop.time() - healed > RECOVERY_SECONDS:
                self.report.problems.append(
                    f"{RECOVERY_SECONDS:g} s after the last fault: {'; '.join(wrong)}"
                )
                break
            await asyncio.sleep(0.5)
        self.report.recovery_seconds = self.loop.time() - healed

    def wrong(self) -> list[str]:
        wanted: dict[Token, Mode] = {}
        wrong = []
        for gateway in self.gateways:
            demand = gateway.upstream.demand
            for instrument in demand.instruments():
                token, mode = self.instruments.index(instrument) + 1, demand.mode(instrument)
                assert mode is not None
                wanted[token] = max(mode, wanted.get(token, Mode.LTP))
            witness = self.witnesses[gateway.name]
            wrong += [f"{gateway.name} is told that {i} is dark" for i in witness.dark()]
            wrong += [f"{gateway.name} never had {i}" for i in witness.silent()]
            if gateway.upstream._wanted._pending.all():
                wrong.append(f"{gateway.name} waits for answers")
        # In all an account has one subscription of a symbol, and the first has as many as it has room for.
        each = [account.broker.served() for account in self.accounts]
        served: dict[Token, list[Mode]] = {}
        for one in each:
            for name, modes in one.items():
                served.setdefault(name, []).extend(modes)
        if served != {token: [mode] for token, mode in wanted.items()}:
            wrong.append(f"the broker serves {each}, and wanted is {wanted}")
        places = _FIRST[0] * _FIRST[1]
        if len(each) > 1 and len(each[0]) < min(places, len(wanted)):
            wrong.append(f"the first account has room, and the second one serves {each[1]}")
        for account in self.accounts:
            if sum(account.name in node.node.held for node in self.nodes) != 1:
                wrong.append(f"not one node holds the account {account.name}")
        return wrong

    async def end(self) -> None:
        for process in self.gone:
            self.processes.go_on(process)
        for gateway in [*self.gateways, *(p for p in self.gone if isinstance(p, GatewayProcess))]:
            await gateway.begin(gateway.upstream.close())
        for node in [*self.nodes, *(p for p in self.gone if isinstance(p, NodeProcess))]:
            await node.begin(node.node.close())
        await asyncio.sleep(3)
        for process in (*self.nodes, *self.gateways):
            process.bus.close()
        for account in self.accounts:
            try:
                await account.broker.close()
            except AssertionError as error:
                self.report.problems.append(str(error))

    def judge(self) -> None:
        report, ledger = self.report, self.accounts[0].broker.ledger
        for account in self.accounts:
            told = account.broker.ledger.violations
            report.problems += [f"the broker's ledger of {account.name}: {violation}" for violation in told]
        for witness in self.witnesses.values():
            report.problems += witness.problems
            report.counts.update(ticks=witness.ticks, gaps=witness.gaps)
        report.trace, report.trace_hash = ledger.lines, ledger.trace_hash()
        report.virtual_seconds = self.loop.time()
        report.covered[f"clusters of {len(self.accounts)} accounts"] += 1


if __name__ == "__main__":
    sys.exit(play_seeds("cluster_swizzle", rehearse, __doc__))
