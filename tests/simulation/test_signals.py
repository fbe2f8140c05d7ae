"""What a wire says and hears besides requests and ticks, in virtual time: signs of life, answers, signals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest

from brokerpool import Instrument, Mode, PoolListener, SymbolState
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.wire import ControlBatch, Signal, SignalKind
from brokerpool.feed.gaps import Gap
from brokerpool.feed.incoming_messages import SMALL_BYTES
from brokerpool.instruments import Token
from brokerpool.testing.scripted_feed import ScriptedDialect, ScriptedWire
from brokerpool.testing.virtual_loop import run
from brokerpool.testing.wire_dialect import Heard, Message, Quote
from brokerpool.ticks import Tick
from tests.simulation.stage import Stage, stage
from tests.simulation.test_fencing import faults

PERIOD = 4.0


def play(scenario: Callable[[Stage], Awaitable[None]], **figures: Any) -> None:
    async def main() -> None:
        async with stage(**{"symbols": 10, **figures}) as scene:
            await scenario(scene)

    run(main)


def told(scene: Stage, what: str) -> list[float]:
    """When the broker was told a message that begins with this."""
    return [float(line.split()[0]) for line in scene.broker.ledger.lines if f"is told {what}" in line]


class TextWire(ScriptedWire):
    """Ticks as texts, a line each; asks as bytes; and says what the broker bids it."""

    def requests(self, batch: ControlBatch) -> list[bytes]:  # type: ignore[override]
        return [request.encode() for request in super().requests(batch)]

    def heartbeat(self) -> bytes:  # type: ignore[override]
        return b"beat"

    def parts(self, message: str | bytes) -> list[str | bytes]:
        assert isinstance(message, str)
        return list(message.splitlines())

    def text(self, message: str, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        verb, _, rest = message.partition(" ")
        if verb == "please":
            self.signals.append(Signal(SignalKind.ANSWER, rest))
        elif verb == "order":
            self.signals.append(Signal(SignalKind.ORDER_UPDATE, rest))
        elif verb in ("pause", "resume"):
            kind = SignalKind.GAP_BEGUN if verb == "pause" else SignalKind.GAP_OVER
            self.signals.append(Signal(kind, "the exchange is away", [int(word) for word in rest.split()]))
        elif verb == "nonsense":
            self.signals += [Signal(SignalKind.REFUSED, "?", [[]]), 5]  # type: ignore[list-item]
        elif verb == "tick":
            lines = [line.split()[1:] for line in message.splitlines()]
            found = [(routes.get(int(token)), number) for token, number in lines]
            return [Tick(i, float(number), received_ms) for i, number in found if i is not None]
        else:
            return super().text(message, routes, received_ms)
        return []


class TextDialect(ScriptedDialect):
    def read(self, message: Message) -> Heard:
        if message == "ack":
            return Heard()
        assert isinstance(message, bytes), "requests and signs of life are binary here"
        return super().read(message.decode())

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> list[str]:  # type: ignore[override]
        return ["\n".join(f"tick {q.token} {q.price}" for q in quotes)]


def speak_text(scene: Stage) -> None:
    scene.feed.wire = TextWire  # type: ignore[method-assign]
    scene.broker.speak(TextDialect)


class Heeding(PoolListener):
    def __init__(self) -> None:
        self.orders: list[str | bytes] = []
        self.opened: list[Gap] = []
        self.prices: list[float] = []

    def order_updated(self, update: str | bytes) -> None:
        self.orders.append(update)

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self.opened += gaps

    def ticked(self, ticks: list[Tick]) -> None:
        self.prices += [tick.ltp for tick in ticks]


# -- signs of life ----------------------------------------------------------------------------------------


def test_signs_of_life_leave_within_their_period_for_as_long_as_the_socket_stands() -> None:
    async def scenario(scene: Stage) -> None:
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 5)
        await asyncio.sleep(100)
        beats = told(scene, "beat")
        pauses = [after - before for before, after in pairwise(beats)]
        assert max(pauses) <= PERIOD
        assert min(pauses) >= PERIOD / 2, "no more of them than are called for"
        assert scene.pool.get_pool_stats()["websocket"]["per_connection"][0]["control_messages"] > len(beats)

    play(scenario, limits={"heartbeat_seconds": PERIOD})


def test_a_broker_that_wants_no_signs_of_life_gets_none() -> None:
    async def scenario(scene: Stage) -> None:
        scene.pool.subscribe(scene.feed.instruments)
        await asyncio.sleep(60)
        assert told(scene, "beat") == []

    play(scenario)


def test_signs_of_life_are_in_time_while_two_sockets_say_all_that_they_may() -> None:
    """The broker itself notes a sign of life that is late, and each window that is exceeded."""

    async def scenario(scene: Stage) -> None:
        scene.pool.subscribe(scene.feed.instruments)
        for n in range(100):
            mode = (Mode.LTP, Mode.QUOTE, Mode.DEPTH)[n % 3]
            scene.pool.subscribe(scene.feed.instruments, mode, owner=f"owner {n % 2}")
            if n % 2:
                scene.pool.release("owner 0")
            await asyncio.sleep(0.7)
        assert len(told(scene, "beat")) > 2 * 70 / PERIOD
        assert len(told(scene, "")) > 85, "the account's window is hardly ever free"

    limits = {
        "heartbeat_seconds": PERIOD,
        "batch_size": 1,
        "control_messages": (RateWindow(2, 1.0),),
        "account_messages": (RateWindow(2, 1.0),),
    }
    play(scenario, symbols=40, per_connection=20, limits=limits)


def test_a_socket_that_has_much_to_say_keeps_no_other_from_its_turn() -> None:
    async def scenario(scene: Stage) -> None:
        speak_text(scene)
        scene.pool.subscribe(scene.feed.instruments[:12])
        await scene.until(scene.all_live, 30)
        (socket,) = [socket for socket in scene.broker.sockets if len(socket.tokens) == 10]
        for _ in range(100):
            socket.link.take("please ack")
        await asyncio.sleep(2)
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 10)
        assert len(told(scene, "ack")) < 20

    limits = {"batch_size": 10, "control_messages": (), "account_messages": (RateWindow(1, 1.0),)}
    play(scenario, symbols=20, limits=limits)


def test_a_sign_of_life_that_the_adapter_cannot_give_costs_no_socket() -> None:
    class Mute(ScriptedWire):
        def heartbeat(self) -> str:
            raise RuntimeError

    async def scenario(scene: Stage) -> None:
        scene.feed.wire = Mute  # type: ignore[method-assign]
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 5)
        await asyncio.sleep(PERIOD * 0.9)
        assert faults(scene)["Mute.heartbeat"] >= 1
        assert scene.all_live()

    play(scenario, limits={"heartbeat_seconds": PERIOD})


# -- messages of either kind ------------------------------------------------------------------------------


def test_a_wire_of_texts_and_binary_requests_is_as_good_as_the_other_way_round() -> None:
    async def scenario(scene: Stage) -> None:
        speak_text(scene)
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 5)
        await asyncio.sleep(20)
        assert scene.all_live()
        assert told(scene, b"beat".hex())

    play(scenario, limits={"heartbeat_seconds": PERIOD})


def test_a_long_text_is_delivered_in_order_a_part_each_turn() -> None:
    async def scenario(scene: Stage) -> None:
        speak_text(scene)
        heard = Heeding()
        scene.pool.subscribe(scene.feed.instruments[:1])
        await scene.until(scene.all_live, 5)
        scene.pool.listen(heard)
        numbers = range(10_000, 10_000 + SMALL_BYTES // 12 + 1)
        (socket,) = scene.broker.sockets
        socket.link.take("\n".join(f"tick 1 {n}" for n in numbers))
        assert socket.link.reading_paused
        socket.link.take("tick 1 99999")
        await scene.until(lambda: 99_999 in heard.prices, 5)
        assert [price for price in heard.prices if price >= 10_000] == [*map(float, numbers), 99_999.0]
        assert not socket.link.reading_paused

    play(scenario)


# -- signals ----------------------------------------------------------------------------------------------


def test_answers_leave_at_the_pace_of_messages_and_a_flood_of_them_is_bounded() -> None:
    async def scenario(scene: Stage) -> None:
        speak_text(scene)
        scene.pool.subscribe(scene.feed.instruments[:2])
        await scene.until(scene.all_live, 5)
        (socket,) = scene.broker.sockets
        for _ in range(5000):
            socket.link.take("please ack")
        await asyncio.sleep(1)
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 5)  # though answers wait still
        await asyncio.sleep(60)
        assert len(told(scene, "ack")) == 100

    play(scenario)


def test_a_gap_further_up_is_a_gap_until_the_next_tick() -> None:
    async def scenario(scene: Stage) -> None:
        speak_text(scene)
        heard = Heeding()
        scene.pool.listen(heard)
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 5)
        await asyncio.sleep(10)
        scene.broker.muted = {1, 2}
        (socket,) = scene.broker.sockets
        socket.link.take("pause 1 2 77")
        symbol = scene.feed.instruments[0]
        assert {gap.instrument for gap in heard.opened} == {symbol, scene.feed.instruments[1]}
        assert {gap.reason for gap in heard.opened} == {"the exchange is away"}
        assert scene.pool.gap(symbol) is not None
        await asyncio.sleep(3)
        socket.link.take("resume 1 2")
        assert scene.pool.gap(symbol) is not None, "no tick has come yet"
        scene.broker.muted = set()
        await scene.until(lambda: scene.pool.gap(symbol) is None, 5)

    play(scenario)


def test_who_has_said_that_everything_has_stopped_is_not_found_mute_and_is_again_once_it_goes_on() -> None:
    async def scenario(scene: Stage) -> None:
        speak_text(scene)
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 5)
        await asyncio.sleep(10)
        tokens = [*range(1, 11)]
        scene.broker.muted = {*tokens}
        scene.broker.sockets[0].link.take(f"pause {' '.join(map(str, tokens))}")
        await asyncio.sleep(120)
        assert len(scene.broker.ledger.dials) == 1, "another socket would bring no more"
        scene.broker.sockets[0].link.take("resume 1")
        await scene.until(lambda: len(scene.broker.ledger.dials) == 2, 30)

    play(scenario)


def test_an_order_update_reaches_the_listeners_as_it_came() -> None:
    async def scenario(scene: Stage) -> None:
        speak_text(scene)
        heard = Heeding()
        scene.pool.listen(heard)
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 5)
        scene.broker.sockets[0].link.take('order {"id": 1}')
        assert heard.orders == ['{"id": 1}']

    play(scenario)


@pytest.mark.parametrize("said", ["nonsense", "please \ud800"])
def test_a_signal_that_makes_no_sense_costs_its_message_and_not_the_socket(said: str) -> None:
    async def scenario(scene: Stage) -> None:
        speak_text(scene)
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 5)
        scene.broker.sockets[0].link.take(said)
        await asyncio.sleep(1)
        assert sum(faults(scene).values()) == 1
        assert scene.pool.state(scene.feed.instruments[0]) is SymbolState.LIVE
        assert len(scene.broker.ledger.dials) == 1

    play(scenario)
