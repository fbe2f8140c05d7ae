"""After any traffic /stats, /metrics, the broker's counts and what clients got are the same numbers."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from typing import Any

import aiohttp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from brokerpool.commands.top_table import ConnectionTable
from brokerpool.gateway.server import Gateway
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.gateway_client import KEY, Client, client, gateway, pool_of, received
from tests.rehearsal import demanded, served, until

SYMBOLS, CLIENTS = 12, 2

numbers = st.lists(st.integers(0, SYMBOLS - 1), min_size=1, max_size=6)
who = st.integers(0, CLIENTS - 1)
actions = st.one_of(
    st.tuples(st.just("subscribe"), who, numbers, st.integers(1, 3)),
    st.tuples(st.just("unsubscribe"), who, numbers, st.integers(1, 3)),
    st.tuples(st.just("trade"), st.integers(1, 200)),
    st.tuples(st.just("call")),
)
# One cut a day: each further one makes the pool wait longer before it dials again.
days = st.builds(
    lambda before, cut, after: [*before, *cut, *after],
    st.lists(actions, min_size=1, max_size=5),
    st.sampled_from([[], [("cut",)]]),
    st.lists(actions, max_size=3),
)


class Day:
    """One gateway, its broker and its clients; what each of them counted."""

    def __init__(self, broker: KiteSimulator, served_by: Gateway, clients: list[Client]) -> None:
        self.broker, self.served_by, self.clients = broker, served_by, clients
        self.rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
        #: Packets that were left out on sockets that are gone: the statistics begin anew with each socket.
        self.skipped_before = 0
        #: Ticks that the clients got. What is sent around a hole, news and snapshots, is not counted here.
        self.delivered = 0
        self.whole = True

    @property
    def connections(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.served_by.stats()["websocket"]["per_connection"]
        return found

    def total(self, name: str) -> int:
        return sum(connection[name] for connection in self.connections)

    @property
    def skipped(self) -> int:
        return sum(sum(connection["skipped_packets"].values()) for connection in self.connections)

    async def rest(self) -> None:
        """Wait until the broker serves what is wanted, and everything that was sent has arrived."""
        await until(lambda: served(self.broker) == demanded(pool_of(self.served_by)))
        await until(lambda: received(self.served_by) + self.skipped_before == self.sent())
        for session in self.clients:
            self.delivered += len([tick for tick in await session.drain() if "snapshot" not in tick])

    def sent(self) -> int:
        counts = self.broker.stats()
        return int(counts["ticks_sent"] + counts["snapshots_sent"])

    async def act(self, action: tuple[Any, ...], http: aiohttp.ClientSession) -> None:
        match action:
            case ("subscribe" | "unsubscribe" as name, number, wanted, mode):
                symbols = [self.rows[n] for n in dict.fromkeys(wanted)]
                await self.clients[number].ask(action=name, symbols=symbols, mode=mode)
            case ("trade", ticks):
                await self.rest()
                await self.broker.step(ticks)
            case ("cut",):
                await self.rest()
                self.whole = False
                self.skipped_before += self.skipped
                sockets = self.broker.sockets()
                for socket in sockets:
                    self.broker.kill(socket["id"])
                dialled = self.total("dials")
                await until(lambda: self.total("dials") == dialled + len(sockets))
            case ("call",):
                body = {"apikey": KEY, "interval": "D", "start_date": "2025-04-21", "end_date": "2025-04-22"}
                async with http.post("/api/v1/history", json=body | self.rows[0]) as answer:
                    assert answer.status == 200

    async def check(self, http: aiohttp.ClientSession) -> None:
        await self.rest()
        ours, theirs = self.served_by.stats(), self.broker.stats()
        assert self.total("dials") == theirs["dials"]
        assert self.total("refusals") == sum(theirs["refusals"].values()) == 0
        assert self.total("control_messages") == theirs["control_messages"]
        assert self.total("sent") == self.total("symbols") == ours["websocket"]["total_symbols"]
        assert ours["websocket"]["total_symbols"] == len(served(self.broker))
        assert sum(c["state"] == "live" for c in self.connections) == theirs["sockets"]
        asked = Counter(theirs["http_requests"])
        del asked["unknown"]  # what only warms a connection
        assert ours["http"]["requests"] == asked.total()
        assert ours["gateway"]["clients"] == len(self.clients)
        if self.whole:
            assert ours["gateway"]["frames_delivered"] == self.delivered
        await self.compare_views(ours, http)
        async with http.get("/metrics") as answer:
            text = await answer.text()
        sums: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name] += int(sample.value)
        for name in ("dials", "refusals", "control_messages", "ticks", "heartbeats"):
            assert sums[f"brokerpool_websocket_{name}_total"] == self.total(name)
        assert sums["brokerpool_websocket_symbols"] == ours["websocket"]["total_symbols"]
        assert sums["brokerpool_websocket_gaps_total"] == ours["websocket"]["gaps_total"]
        assert sums["brokerpool_http_requests_total"] == ours["http"]["requests"]
        assert sums["brokerpool_http_call_seconds_count"] == ours["http"]["call_seconds"]["count"]
        assert sums["brokerpool_gateway_frames_delivered_total"] == ours["gateway"]["frames_delivered"]
        assert sums["brokerpool_journal_events_total"] == sum(ours["journal"]["events"].values())
        assert sum(ours["journal"]["events"].values()) == len(self.served_by.upstream.journal)

    async def compare_views(self, ours: dict[str, Any], http: aiohttp.ClientSession) -> None:
        """The dashboard and `top` show what `/stats` says."""
        async with http.get("/dashboard/stream", headers={"Authorization": f"Bearer {KEY}"}) as answer:
            shown: dict[str, Any] = {}
            while "stats" not in shown:  # the journal so far comes first
                shown = json.loads(await answer.content.readline())
        assert shown["stats"]["websocket"]["total_symbols"] == ours["websocket"]["total_symbols"]
        assert shown["stats"]["websocket"]["gaps_total"] == ours["websocket"]["gaps_total"]
        assert shown["stats"]["http"]["requests"] == ours["http"]["requests"]
        for name in ("name", "dials", "ticks", "symbols"):
            theirs = [c[name] for c in shown["stats"]["websocket"]["per_connection"]]
            assert theirs == [c[name] for c in ours["websocket"]["per_connection"]]
        ranking, paper = ConnectionTable(), io.StringIO()
        ranking.take(ours, 0.0)
        Console(file=paper, width=200).print(ranking.view())
        printed = paper.getvalue()
        assert f"carry {ours['websocket']['total_symbols']} symbols" in printed
        assert f"{ours['gateway']['frames_delivered']} frames went to clients" in printed
        assert f"{ours['http']['requests']} calls to the broker" in printed


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(days)
def test_all_who_count_agree_once_the_traffic_rests(day: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        limits = {"MAX_SYMBOLS_PER_WEBSOCKET": str(SYMBOLS // 3), "BROKERPOOL_MARKET_HOURS": "always"}
        async with (
            gateway({"symbols": SYMBOLS}, **limits) as (broker, served_by),
            client(served_by) as one,
            client(served_by) as other,
            aiohttp.ClientSession(served_by.http_url) as http,
        ):
            told = Day(broker, served_by, [one, other])
            for action in day:
                await told.act(action, http)
            await told.check(http)

    asyncio.run(main())
