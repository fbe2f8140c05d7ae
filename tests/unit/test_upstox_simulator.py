"""The simulated Upstox on real sockets, to a client that is not ours: addresses, refusals, limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.simulator import ExpireToken
from brokerpool.simulator.upstox.broker import UpstoxSimulator
from brokerpool.simulator.upstox.fault_switches import UpstoxOrder
from brokerpool.simulator.upstox.instruments import key
from tests.rehearsal import until

FEED = "/v3/feed/market-data-feed"
Scenario = Callable[[UpstoxSimulator, aiohttp.ClientSession], Awaitable[None]]


def play(scenario: Scenario, **options: Any) -> None:
    async def main() -> None:
        async with UpstoxSimulator(**{"symbols": 20, "rate": 0, **options}) as broker:
            headers = {"Authorization": f"Bearer {broker.access_token}"}
            async with aiohttp.ClientSession(broker.http_url, headers=headers) as http:
                await scenario(broker, http)

    asyncio.run(asyncio.wait_for(main(), 30))


async def address(http: aiohttp.ClientSession) -> str:
    async with http.get(f"{FEED}/authorize") as answer:
        return str((await answer.json())["data"]["authorized_redirect_uri"])


def request(method: str, keys: list[str], mode: str = "") -> bytes:
    data = {"instrumentKeys": keys, **({"mode": mode} if mode else {})}
    return json.dumps({"guid": "g", "method": method, "data": data}).encode()


async def refused(url: str) -> int:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(url)
    return refusal.value.response.status_code


def test_the_first_hop_redirects_to_an_address_that_is_good_for_one_dial() -> None:
    async def scenario(broker: UpstoxSimulator, http: aiohttp.ClientSession) -> None:
        async with http.get(FEED, allow_redirects=False) as hop:
            assert hop.status == 302
            url = hop.headers["Location"]
        async with connect(url) as client:
            assert b"NSE_EQ" in await client.recv()
            assert await refused(url) == 403
            assert await refused(f"{broker.ws_url}?code=made-up") == 403
        async with http.get(FEED, headers={"Authorization": "Bearer wrong"}, allow_redirects=False) as wrong:
            assert wrong.status == 401
            assert (await wrong.json())["errors"][0]["errorCode"] == "UDAPI100050"

    play(scenario)


@pytest.mark.parametrize("status", [403, 429])
def test_a_third_socket_is_refused_and_the_others_stay(status: int) -> None:
    async def scenario(broker: UpstoxSimulator, http: aiohttp.ClientSession) -> None:
        async with connect(await address(http)) as one, connect(await address(http)) as two:
            assert await refused(await address(http)) == status
            assert len(broker.sockets()) == 2
            for client in (one, two):
                await client.send(request("sub", [key(broker.listings[0])], "ltpc"))
                assert [await client.recv() for _ in range(2)]
        assert broker.stats()["violations"]["sockets"] == 1

    play(scenario, too_many_sockets=status)


def test_a_request_beyond_a_limit_changes_nothing_and_nothing_is_said_of_it() -> None:
    async def scenario(broker: UpstoxSimulator, http: aiohttp.ClientSession) -> None:
        keys = [key(listing) for listing in broker.listings]
        async with connect(await address(http)) as client:
            await client.recv()
            await client.send(request("sub", keys[:10], "full"))
            await client.send(request("sub", keys[10:11], "full"))
            await client.send("a text")
            await client.send(request("unsub", keys[:9]))
            await until(lambda: broker.stats()["control_messages"] == 4)
            (socket,) = broker.sockets()
            assert socket["tokens"] == {str(broker.listings[9].token): "full"}
            assert (socket["violations"], broker.stats()["malformed_requests"]) == (1, 1)
            await broker.step(20)
            # The snapshot of what is left, and its trade; nothing else was said.
            for _ in range(2):
                rows = await client.recv()
                assert isinstance(rows, bytes)
                assert [name for name in keys if name.encode() in rows] == [keys[9]]

    play(scenario, max_tokens=10)


def test_it_pings_as_often_as_it_is_told() -> None:
    class Client(ClientConnection):
        pings = 0

        def process_event(self, event: Event) -> None:
            Client.pings += isinstance(event, Frame) and event.opcode is Opcode.PING
            super().process_event(event)

    async def scenario(broker: UpstoxSimulator, http: aiohttp.ClientSession) -> None:
        async with connect(await address(http), create_connection=Client, ping_interval=None):
            await until(lambda: Client.pings >= 1)

    play(scenario, ping_seconds=0.05)


def test_with_a_dead_token_there_are_no_addresses_and_those_that_were_given_are_void() -> None:
    async def scenario(broker: UpstoxSimulator, http: aiohttp.ClientSession) -> None:
        given = await address(http)
        await broker.throw(UpstoxOrder(expire_token=ExpireToken()))
        assert await refused(given) == 403
        async with http.get(f"{FEED}/authorize") as answer:
            assert answer.status == 401
        await broker.throw(UpstoxOrder(access_token="tomorrows"))
        async with http.get(f"{FEED}/authorize", headers={"Authorization": "Bearer tomorrows"}) as answer:
            assert answer.status == 200

    play(scenario)


@pytest.mark.parametrize(("as_success", "status"), [(False, 429), (True, 200)])
def test_one_call_too_many_is_told_so_in_either_form_and_does_not_count_itself(
    as_success: bool, status: int
) -> None:
    async def scenario(broker: UpstoxSimulator, http: aiohttp.ClientSession) -> None:
        await broker.throw(UpstoxOrder(too_fast_as_success=as_success))
        path = f"/v3/market-quote/ltp?instrument_key={key(broker.listings[0]).replace('|', '%7C')}"
        told = []
        for _ in range(3):
            async with http.get(path) as answer:
                error = (await answer.json()).get("errors", [{}])[0].get("errorCode")
                told.append((answer.status, error))
        assert told == [(200, None), (200, None), (status, "UDAPI10005")]
        assert broker.stats()["too_fast"] == {"ltp": 1}

    play(scenario, http_rates={"ltp": [RateWindow(2, 3600.0)]})


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v3/market-quote/ltp", "UDAPI1087"),
        ("/v2/market-quote/quotes?instrument_key=" + ",".join(f"A%7C{n}" for n in range(501)), "UDAPI100042"),
        ("/v3/market-quote/ohlc?instrument_key=A&interval=I1", "UDAPI1027"),
        ("/v3/historical-candle/A%7C1/minutes/1/2026-11-20/2026-11-20", "UDAPI100011"),
        ("/v3/historical-candle/KEY/minutes/301/2026-11-20/2026-11-20", "UDAPI1147"),
        ("/v3/historical-candle/KEY/years/1/2026-11-20/2026-11-20", "UDAPI1147"),
        ("/v3/historical-candle/KEY/minutes/1/2026-11-20/2026-10-01", "UDAPI1148"),
        ("/v3/historical-candle/KEY/minutes/1/2026-11-20/soon", "UDAPI1015"),
        ("/v3/historical-candle/intraday/KEY/hours/6", "UDAPI1147"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_code(path: str, code: str) -> None:
    async def scenario(broker: UpstoxSimulator, http: aiohttp.ClientSession) -> None:
        named = path.replace("KEY", key(broker.listings[0]).replace("|", "%7C"))
        async with http.get(named) as answer:
            assert (answer.status, (await answer.json())["errors"][0]["errorCode"]) == (400, code)

    play(scenario)
