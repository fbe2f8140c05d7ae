"""A broker that says too much, in virtual time: bounded in words and in each turn, and nothing is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from brokerpool import Instrument, PoolListener
from brokerpool.event_journal import Event
from brokerpool.feed.incoming_messages import SMALL_BYTES
from brokerpool.testing.scripted_feed import _PACKET
from brokerpool.testing.virtual_loop import run
from brokerpool.ticks import Mode, Tick
from tests.simulation.stage import stage


class Turns(PoolListener):
    """Keeps the prices that come, and how many of them came in each turn of the loop."""

    def __init__(self) -> None:
        self.prices: list[float] = []
        self.in_turn: list[int] = [0]

    def ticked(self, ticks: list[Tick]) -> None:
        self.prices += [tick.ltp for tick in ticks]
        if not self.in_turn[-1]:
            asyncio.get_running_loop().call_soon(self.in_turn.append, 0)
        self.in_turn[-1] += len(ticks)


def message(first: int, count: int) -> bytes:
    """Return a message with so many prices of the first symbol, each another one."""
    return b"".join(_PACKET.pack(1, Mode.LTP, number, 0) for number in range(first, first + count))


LONG = SMALL_BYTES // _PACKET.size + 1


def test_refusals_by_the_thousand_are_a_few_lines_and_push_nothing_out_of_the_journal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def play() -> tuple[dict[str, int], list[str], dict[str, Any]]:
        async with stage(symbols=5) as scene:
            scene.pool.subscribe([scene.feed.instruments[0]], mode=Mode.LTP)
            await scene.until(scene.all_live, 20)
            (socket,) = scene.broker.sockets
            for second in range(60):
                for n in range(500):
                    socket.link.take(
                        f"error no such token {second % 20} " + "x" * 5000 if n else "error again"
                    )
                await asyncio.sleep(1)
            await asyncio.sleep(3)
            entries = scene.pool.journal.entries()
            refused = [entry.reason for entry in entries if entry.event is Event.REFUSED]
            stats = scene.pool.get_pool_stats()
            return scene.pool.journal.counts(), refused, stats

    counts, refused, stats = run(play)
    assert counts["refused"] == len(refused) == 11
    assert refused[-1].startswith("29,99")
    assert "more in 6" in refused[-1]
    assert "x" * 300 not in str(stats)
    assert sum("refused a request" in record.getMessage() for record in caplog.records) == 11


def test_a_long_message_is_delivered_in_order_a_part_each_turn() -> None:
    async def play() -> tuple[list[float], list[int], bool]:
        async with stage(symbols=5) as scene:
            heard = Turns()
            scene.pool.subscribe([scene.feed.instruments[0]], mode=Mode.LTP)
            await scene.until(scene.all_live, 20)
            scene.pool.listen(heard)
            (socket,) = scene.broker.sockets
            socket.link.take(message(10_000, LONG))
            paused = socket.link.reading_paused
            socket.link.take(message(10_000 + LONG, 1))  # read with the long one, so it waits for it
            socket.link.take(message(10_001 + LONG, LONG))
            await scene.until(lambda: len(heard.prices) > 2 * LONG, 5)
            await asyncio.sleep(0)
            assert not socket.link.reading_paused
            return [price for price in heard.prices if price >= 10_000], heard.in_turn, paused

    prices, in_turn, paused = run(play)
    assert prices == [float(number) for number in range(10_000, 10_001 + 2 * LONG)]
    assert max(in_turn) <= 2, "one of the long message, and one that the broker sent besides"
    assert paused


def test_what_waits_when_the_socket_ends_is_dropped_and_lies_in_the_gap() -> None:
    async def play() -> None:
        async with stage(symbols=5) as scene:
            heard = Turns()
            symbol: Instrument = scene.feed.instruments[0]
            scene.pool.subscribe([symbol], mode=Mode.LTP)
            await scene.until(scene.all_live, 20)
            scene.pool.listen(heard)
            (socket,) = scene.broker.sockets
            socket.link.take(message(10_000, LONG))
            await asyncio.sleep(0)
            socket.link.abort()
            await scene.until(lambda: scene.pool.journal.counts()["gap"], 5)
            before = len([price for price in heard.prices if price >= 10_000])
            assert before < LONG
            await scene.until(scene.all_live, 60)
            assert len([price for price in heard.prices if price >= 10_000]) == before

    run(play)
