"""Three brokerpools one behind the other: what is lost at any hop is told at the end, once a symbol."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests import processes
from tests.chain import Hop, chain
from tests.faults.observer import Observer, observing
from tests.rehearsal import until

HOPS = 3
#: By how much two processes of a busy machine may see a moment differently, in seconds.
SLACK = 1.0


class Auditor(Observer):
    """An observer of Quotes that checks each against the one before: its volume grew by its last trade."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        super().__init__(writer)
        self.volumes: dict[str, int] = {}
        self.holes: list[str] = []

    def take(self, payload: bytes) -> None:
        before = self.ticks
        super().take(payload)
        if self.ticks > before:
            data = json.loads(payload)["data"]
            symbol, volume = data["symbol"], data["volume"]
            had = self.volumes.get(symbol)
            # The last value of before may come once more: a snapshot of the hop above, or Kite's own.
            if had is not None and volume not in (had, had + data["last_trade_quantity"]):
                self.holes.append(f"{symbol}: {had} and then {volume}")
            self.volumes[symbol] = volume


def symbols(end: Hop) -> list[dict[str, str]]:
    """Return what the last hop lists, but indices, in which nobody trades."""
    listed = processes.get(f"{end.http_url}/api/v1/instruments?apikey={end.key}&format=json")["data"]
    return [{n: row[n] for n in ("symbol", "exchange")} for row in listed if "INDEX" not in row["exchange"]]


async def killed_and_back(hop: Hop, client: Observer) -> float:
    """Kill a hop, start it again, check what the client is told, and return after how long it is well."""
    names = set(client.last)
    client.reset()
    client.news.clear()
    at = time.time()
    await asyncio.to_thread(hop.kill)
    await until(lambda: {news["symbol"] for news in client.symbol_news("stale")} == names, 20)
    await asyncio.to_thread(hop.start)
    returned = time.monotonic()
    await until(lambda: all(seen > returned for seen in client.last.values()), 30)
    seconds = max(client.last.values()) - returned
    gaps = {gap["symbol"]: gap for gap in client.symbol_news("gap")}
    assert len(client.symbol_news("gap")) == len(client.symbol_news("stale")) == len(names), "one for each"
    for symbol, gap in gaps.items():
        assert at - SLACK < gap["from"] / 1000 < at + SLACK, "from the last tick before the kill"
        assert abs((gap["to"] - gap["from"]) / 1000 - client.pauses[symbol]) < SLACK, "to the next one"
    return seconds


@pytest.mark.parametrize("broker", ["zerodha", "openalgo"])
def test_a_kill_of_any_hop_is_one_gap_a_symbol_at_the_end_and_over_within_5_seconds_of_its_return(
    tmp_path: Path, broker: str
) -> None:
    with (
        processes.simulator(tmp_path, broker=broker, symbols=20, rate=200),
        chain(tmp_path, HOPS) as hops,
    ):
        end = hops[-1]

        async def main() -> None:
            rows = await asyncio.to_thread(symbols, end)
            async with observing(end.ws_url, end.key, [rows], mode=2) as (client,):
                await until(lambda: len(client.last) == len(rows), seconds=20)
                for hop in hops[:-1]:
                    seconds = await killed_and_back(hop, client)
                    print(f"{broker}: every symbol ticks {seconds:.1f} s after the return of a hop")
                    assert seconds < 5
                assert not client.ended

        asyncio.run(main())


def test_nothing_is_lost_over_three_hops_at_2000_ticks_a_second(tmp_path: Path) -> None:
    with (
        processes.simulator(tmp_path, broker="zerodha", symbols=50, rate=2000),
        chain(tmp_path, HOPS) as hops,
    ):
        end = hops[-1]

        async def main() -> None:
            rows = await asyncio.to_thread(symbols, end)
            async with observing(end.ws_url, end.key, [rows], mode=2, kind=Auditor) as (client,):
                await until(lambda: client.ticks > 6000, seconds=60)
                assert isinstance(client, Auditor)
                assert client.holes == []
                assert len(client.volumes) == len(rows)
                assert not client.symbol_news("gap")

        asyncio.run(main())


def test_the_newest_of_a_chain_asks_quotes_of_the_first_and_a_name_that_nobody_lists_is_refused(
    tmp_path: Path,
) -> None:
    with processes.simulator(tmp_path, broker="openalgo", symbols=10, rate=0), chain(tmp_path, 2) as hops:
        end = hops[-1]
        rows = symbols(end)
        quote = {"apikey": end.key, **rows[0]}
        first = {"apikey": hops[0].key, **rows[0]}
        through = processes.post(f"{end.http_url}/api/v1/quotes", quote)
        assert through == processes.post(f"{hops[0].http_url}/api/v1/quotes", first)
        assert through["data"]["ltp"] > 0

        async def main() -> None:
            unknown = {"symbol": "NOBODY", "exchange": "NSE"}
            async with observing(end.ws_url, end.key, [[rows[0], unknown]], mode=2) as (client,):
                await until(lambda: len(client.news) >= 2)
                items = {item["symbol"]: item for item in client.news[1]["subscriptions"]}
                assert items[rows[0]["symbol"]]["status"] == "success"
                assert items["NOBODY"]["code"] == "SYMBOL_NOT_FOUND"

        asyncio.run(main())
