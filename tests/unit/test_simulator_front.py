"""A second broker to be simulated is its front alone: market, faults, sockets, HTTP and control are there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import ClassVar

import aiohttp
import pytest
from aiohttp import web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from brokerpool.brokers.wire import Farewell
from brokerpool.simulator import FaultOrder, KiteSimulator, Malformation, Malformed
from brokerpool.simulator.broker import SimulatedBroker
from brokerpool.simulator.broker_interface import Grace, Limits, Outcome, Pings, Wire
from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.listed_instruments import Kind, Listing, Naming
from brokerpool.simulator.recording import Header, TapeWriter
from brokerpool.simulator.registry import brokers, front
from brokerpool.ticks import Mode
from brokerpool.transport import UpgradeRequest


class MoonWire:
    """Lines of token and price; a line that is spoilt has a question mark."""

    TEXT = False
    HEARTBEAT = b"alive"
    PACKETS_PER_FRAME = 10

    def record(self, quote: Quote, mode: Mode) -> bytes:
        return b"%d %d" % (quote.token, quote.ltp)

    def records(self, quote: Quote, modes: Collection[Mode]) -> dict[Mode, tuple[bytes]]:
        return {mode: (self.record(quote, mode),) for mode in modes}

    def frame(self, records: Sequence[bytes]) -> bytes:
        return b"\n".join(records)

    def malformed(self, kind: Malformation, records: Sequence[bytes]) -> bytes:
        return b"?"

    def packets(self, message: bytes) -> Iterator[bytes]:
        yield from message.split(b"\n")

    def packet_token(self, packet: bytes) -> int | None:
        return int(packet.split()[0])

    def trimmed(self, packet: bytes, mode: Mode) -> bytes:
        return packet

    def error(self, text: str) -> bytes:
        return f"no: {text}".encode()


class MoonNames:
    """The exchange's own numbers are the tokens, as they are at most brokers."""

    def token(self, exchange: str, kind: Kind, exchange_token: int) -> int:
        return exchange_token

    def contract(self, name: str, kind: Kind, expiry: date, strike: float) -> str:
        return f"{name} {expiry} {strike:g} {kind}"

    def index(self, name: str) -> tuple[str, str]:
        return "NSE", name

    def recorded(self, token: int, exchange: str, tradingsymbol: str) -> Listing:
        return Listing(token, exchange, tradingsymbol, tradingsymbol, token, price=100)


class MoonSubscriptions:
    """Every message is a token to be subscribed to."""

    def __init__(self, limit: float, lists: Callable[[int], bool]) -> None:
        self._limit = limit
        self._lists = lists
        self.modes: dict[int, Mode] = {}
        self.largest_batch = 1
        self.logged_in = True

    @property
    def entries(self) -> int:
        return len(self.modes)

    def handle(self, message: str | bytes) -> Outcome:
        if not message.isdigit() or not self._lists(int(message)):
            return Outcome(error="what is that?")
        if self.entries == self._limit:
            return Outcome(error="too many", over_limit=True)
        self.modes[int(message)] = Mode.LTP
        return Outcome(added=[int(message)])

    def report(self) -> dict[str, str]:
        return {str(token): "price" for token in self.modes}


class MoonSimulator(SimulatedBroker):
    name = "moon"
    limits = Limits(max_sockets=1, max_tokens=2, heartbeat_seconds=60.0, http_rates={})
    naming: ClassVar[Naming] = MoonNames()

    def _wire(self) -> Wire:
        return MoonWire()

    def _subscriptions(self, limit: float, lists: Callable[[int], bool]) -> MoonSubscriptions:
        return MoonSubscriptions(limit, lists)

    def _refusal(self, request: UpgradeRequest) -> str | None:
        return None if request.query.get("key") == self.api_key else "whose key is that?"

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        async def moon(request: web.Request) -> web.Response:
            return web.Response(text="full")

        router.add_get("/moon", moon)

    def _failure(self, status: int, message: str, retry_after: int | None = None) -> web.Response:
        return web.Response(status=status, text=message)

    def credentials(self) -> dict[str, str]:
        return {"api_key": self.api_key}

    def login_page(self) -> str:
        return self.http_url


class StrictMoon(MoonSimulator):
    """Names what is wrong with a dial in a header, and wants to hear of its clients."""

    limits = MoonSimulator.limits._replace(silence=Grace(0.3, 4001, "are you there?"))
    wrong_credentials = 401

    def _failure(self, status: int, message: str, retry_after: int | None = None) -> web.Response:
        return web.Response(status=status, text=message, headers={"X-Why": message})


def test_a_front_chooses_the_status_of_wrong_credentials_and_what_stands_in_the_headers() -> None:
    async def main() -> None:
        async with StrictMoon(symbols=3, rate=0) as broker:
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{broker.ws_url}?key=none")
            assert refused.value.response.status_code == 401
            assert refused.value.response.headers["X-Why"] == "whose key is that?"

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_client_that_says_nothing_is_closed_and_a_ping_or_any_message_is_something() -> None:
    async def main() -> None:
        async with StrictMoon(symbols=3, rate=0) as broker, asyncio.timeout(20):
            url = f"{broker.ws_url}?key={broker.api_key}"
            for sign in ("ping", "text"):
                async with connect(url, ping_interval=None) as client:
                    for _ in range(5):
                        await (client.ping() if sign == "ping" else client.send("1594"))
                        with pytest.raises(TimeoutError):
                            await asyncio.wait_for(client.wait_closed(), 0.15)
                    await client.wait_closed()
                    assert (client.close_code, client.close_reason) == (4001, "are you there?")
            assert broker.stats()["violations"]["silence"] == 2

    asyncio.run(asyncio.wait_for(main(), 30))


class WordyMoon(MoonSimulator):
    """Speaks first, pings often, and refuses a socket too many in a way of its own."""

    limits = MoonSimulator.limits._replace(pings=Pings(0.05, 5.0))
    too_many_sockets = 403

    def _greeting(self) -> Sequence[bytes]:
        return (b"welcome", b"to the moon")


class CurtWire(MoonWire):
    def error(self, text: str) -> bytes:
        return b""


class CurtMoon(MoonSimulator):
    """Says nothing of a request that it refuses."""

    def _wire(self) -> Wire:
        return CurtWire()


def test_a_front_may_speak_first_ping_as_it_likes_and_refuse_a_socket_too_many_as_it_likes() -> None:
    async def main() -> None:
        async with WordyMoon(symbols=3, rate=0) as broker, asyncio.timeout(20):
            url = f"{broker.ws_url}?key={broker.api_key}"
            pinged = asyncio.Event()

            class Client(ClientConnection):
                def process_event(self, event: Event) -> None:
                    if isinstance(event, Frame) and event.opcode is Opcode.PING:
                        pinged.set()
                    super().process_event(event)

            async with connect(url, create_connection=Client, ping_interval=None) as client:
                assert [await client.recv(), await client.recv()] == [b"welcome", b"to the moon"]
                await pinged.wait()
                with pytest.raises(InvalidStatus) as crowded:
                    await connect(url)
                assert crowded.value.response.status_code == 403

    asyncio.run(main())


def test_a_broker_may_say_nothing_of_a_request_that_it_refuses() -> None:
    async def main() -> None:
        async with CurtMoon(symbols=3, rate=0) as broker, asyncio.timeout(20):
            async with connect(f"{broker.ws_url}?key={broker.api_key}") as client:
                for request in ("nonsense", "1594"):
                    await client.send(request)
                first = await client.recv()
                assert isinstance(first, bytes)
                assert first.startswith(b"1594 ")
            assert broker.stats()["malformed_requests"] == 1

    asyncio.run(main())


def test_whoever_only_answers_the_broker_s_pings_has_said_nothing() -> None:
    async def main() -> None:
        async with (
            StrictMoon(symbols=3, rate=0) as broker,
            connect(f"{broker.ws_url}?key={broker.api_key}", ping_interval=None) as client,
        ):
            over = asyncio.ensure_future(client.wait_closed())
            while not over.done():
                for number in list(broker._venue.sockets):
                    broker._venue.link(number).ping()
                await asyncio.wait({over}, timeout=0.1)
            assert client.close_reason == "are you there?"

    asyncio.run(asyncio.wait_for(main(), 30))


def test_the_brokers_that_can_be_simulated_are_the_folders_with_a_front() -> None:
    assert {"openalgo", "zerodha"} <= set(brokers())
    assert "fault_proxy" not in brokers()
    assert front("zerodha") is KiteSimulator
    with pytest.raises(
        ValueError, match=f"'fault_proxy' cannot be simulated; brokers: {', '.join(brokers())}"
    ):
        front("fault_proxy")


def test_another_brokers_front_is_all_that_its_simulator_needs() -> None:
    async def main() -> None:
        async with (
            MoonSimulator(symbols=3, rate=0, snapshot=False, toxics={}) as broker,
            aiohttp.ClientSession(broker.http_url) as http,
            aiohttp.ClientSession(broker.control_url) as control,
        ):
            assert [row.token for row in broker.listings] == [2885, 1594, 3045]
            url = f"{broker.ws_url}?key={broker.api_key}"
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{broker.ws_url}?key=none")
            assert refused.value.response.status_code == 403
            assert refused.value.response.body == b"whose key is that?"
            async with connect(url) as client:
                for request in ("1594", "2885", "3045", b"hello"):
                    await client.send(request)
                assert {await client.recv(), await client.recv()} == {"no: too many", "no: what is that?"}
                with pytest.raises(InvalidStatus) as crowded:
                    await connect(url)
                assert crowded.value.response.status_code == 429
                await broker.step(3)
                ticks = await client.recv()
                assert isinstance(ticks, bytes)
                assert {line.split()[0] for line in ticks.split(b"\n")} == {b"1594", b"2885"}
                await broker.throw(FaultOrder(malformed=Malformed(Malformation.TRUNCATED)))
                await broker.step(3)
                assert await client.recv() == b"?"
                async with control.get("/sockets") as told:
                    assert [socket["tokens"] for socket in await told.json()] == [
                        {"1594": "price", "2885": "price"}
                    ]
            async with http.get("/moon") as answer:
                assert await answer.text() == "full"
            await broker.down()
            async with http.get("/moon") as answer:
                assert (answer.status, await answer.text()) == (503, "The simulated broker is down.")

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_tape_of_another_broker_is_not_played(tmp_path: Path) -> None:
    tape = tmp_path / "moon.tape"
    with TapeWriter(tape, Header(broker="moon")):
        pass
    MoonSimulator(replay=tape)
    with pytest.raises(ValueError, match="is a tape of 'moon'; zerodha cannot play it"):
        KiteSimulator(replay=tape)


class PoliteSubscriptions(MoonSubscriptions):
    """Says a word about each token, and ends the socket of a client that asks for too many."""

    def handle(self, message: str | bytes) -> Outcome:
        outcome = super().handle(message)
        if outcome.over_limit:
            return outcome._replace(messages=(b"too many",), ends=True)
        return outcome._replace(messages=(b"welcome",))


class PoliteWire(MoonWire):
    def error(self, text: str) -> bytes:
        return b""


class PoliteMoon(MoonSimulator):
    """Lets everybody in, and tells whom it ends why."""

    limits = MoonSimulator.limits._replace(evicts=True)

    def _wire(self) -> Wire:
        return PoliteWire()

    def _subscriptions(self, limit: float, lists: Callable[[int], bool]) -> PoliteSubscriptions:
        return PoliteSubscriptions(limit, lists)

    def _last_words(self, why: Farewell) -> bytes:
        return why.value.encode()

    def _dismissal(self, request: UpgradeRequest) -> bytes | None:
        return b"a stranger" if self._refusal(request) else None


def test_a_broker_may_tell_in_a_last_message_why_it_ends_a_socket() -> None:
    async def main() -> None:
        async with PoliteMoon(symbols=3, rate=0, snapshot=False) as broker, asyncio.timeout(20):
            url = f"{broker.ws_url}?key={broker.api_key}"

            async def last_words(client: ClientConnection) -> list[str | bytes]:
                words = []
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        words.append(await client.recv())
                return words

            async with connect(f"{broker.ws_url}?key=none") as stranger:
                assert await last_words(stranger) == [b"a stranger"]
            async with connect(url) as eldest, connect(url) as next_one:
                assert await last_words(eldest) == [b"evicted"]
                for token in ("1594", "2885", "3045"):
                    await next_one.send(token)
                assert await last_words(next_one) == [b"welcome", b"welcome", b"too many"]
            async with connect(url) as client:
                broker.expire_token(close_sockets=True)
                assert await last_words(client) == [b"credentials"]
            stats = broker.stats()
            assert stats["evictions"] == 1
            assert stats["violations"]["tokens"] == 1
            assert stats["refusals"] == {}

    asyncio.run(main())
