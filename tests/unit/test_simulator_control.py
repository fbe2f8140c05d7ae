"""The control endpoint shows and steers what the simulator does, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from brokerpool.simulator import KiteSimulator, Slicer
from tests.unit.simulator_client import DEADLINE, ask, dialling, shape


class Control:
    """A client of the control endpoint, and a dialler."""

    def __init__(self, broker: KiteSimulator, session: aiohttp.ClientSession) -> None:
        self.broker = broker
        self._session = session

    def dial(self) -> connect:
        return dialling(self.broker)

    async def get(self, path: str) -> Any:
        async with self._session.get(path) as response:
            assert response.status == 200
            return await response.json()

    async def post(self, path: str, body: str | None = None) -> tuple[int, Any]:
        async with self._session.post(path, data=body) as response:
            return response.status, await response.json()

    async def delete(self, path: str) -> tuple[int, Any]:
        async with self._session.delete(path) as response:
            return response.status, await response.json()

    async def throw(self, **switches: object) -> Any:
        status, faults = await self.post("/faults", json.dumps(switches))
        assert status == 200
        return faults


def with_control(scenario: Callable[[Control], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with (
            KiteSimulator(**{"rate": 0, **options}) as broker,
            aiohttp.ClientSession(broker.control_url) as session,
        ):
            await scenario(Control(broker, session))

    asyncio.run(asyncio.wait_for(run(), 30))


async def subscribed(client: ClientConnection, *tokens: int) -> None:
    await ask(client, "subscribe", tokens)
    await shape(client)


def test_sockets_are_listed_with_their_tokens_and_counters() -> None:
    async def scenario(control: Control) -> None:
        async with control.dial() as client:
            await subscribed(client, 408065, 738561)
            await ask(client, "mode", ["full", [738561]])
            await shape(client)
            (listed,) = await control.get("/sockets")
        assert listed["id"] == 1
        assert listed["tokens"] == {"408065": "quote", "738561": "full"}
        assert listed["control_messages"] == 2
        assert listed["violations"] == 0
        assert (listed["frames_sent"], listed["frames_dropped"]) == (2, 0)
        assert listed["opened"] == pytest.approx(1_795_341_600.0)

    with_control(scenario, clock=lambda: 1_795_341_600.0)


def test_stats_count_from_the_start() -> None:
    async def scenario(control: Control) -> None:
        async with control.dial() as client:
            await subscribed(client, 408065)
            await control.post("/step", '{"ticks": 200}')
            await shape(client)
        stats = await control.get("/stats")
        assert stats["dials"] == 1
        assert stats["ticks_sent"] == 2
        assert stats["snapshots_sent"] == 1
        assert stats["market_ticks"] == 200
        assert stats["control_messages"] == stats["peak_control_messages_per_second"] == 1
        assert stats["peak_tokens_per_socket"] == 1

    with_control(scenario)


def test_a_step_says_where_the_market_stands() -> None:
    async def scenario(control: Control) -> None:
        assert await control.post("/step", '{"ticks": 30}') == (200, {"ticks": 30})
        assert await control.post("/step", '{"ticks": 12}') == (200, {"ticks": 42})
        for body in ("", "{}", '{"ticks": 0}', '{"ticks": 1, "back": true}'):
            status, answer = await control.post("/step", body)
            assert status == 400
            assert "from 1 to 1000000" in answer["error"]

    with_control(scenario)


def test_sockets_can_be_killed_and_closed() -> None:
    async def scenario(control: Control) -> None:
        killed, closed = await control.dial(), await control.dial()
        assert await control.post("/sockets/1/kill") == (200, {})
        assert await control.post("/sockets/2/close") == (200, {})
        async with asyncio.timeout(DEADLINE):
            await killed.wait_closed()
            await closed.wait_closed()
        assert (killed.close_code, closed.close_code) == (1006, 1001)
        status, answer = await control.post("/sockets/7/kill")
        assert status == 404
        assert "no socket 7 is open" in answer["error"]

    with_control(scenario)


def test_switches_are_thrown_and_cleared() -> None:
    async def scenario(control: Control) -> None:
        assert (await control.get("/faults"))["refuse"] is None
        faults = await control.throw(refuse={"status": 429, "retry_after": 3}, latency_ms=1)
        assert faults == await control.get("/faults")
        assert faults["refuse"] == {"status": 429, "retry_after": 3, "count": None}
        with pytest.raises(InvalidStatus) as refused:
            await control.dial()
        assert refused.value.response.headers["Retry-After"] == "3"
        await control.throw(refuse=None)
        async with control.dial():
            pass

    with_control(scenario)


def test_the_broker_goes_down_and_up() -> None:
    async def scenario(control: Control) -> None:
        assert (await control.throw(down=True))["down"] is True
        with pytest.raises(ConnectionRefusedError):
            await control.dial()
        assert (await control.throw(down=False))["down"] is False
        async with control.dial():
            pass

    with_control(scenario)


def test_a_token_expires_and_is_renewed_without_being_shown() -> None:
    async def scenario(control: Control) -> None:
        clients = [await control.dial() for _ in range(2)]
        await control.throw(expire_token={"close_sockets": True})
        for client in clients:
            await asyncio.wait_for(client.wait_closed(), DEADLINE)
        with pytest.raises(InvalidStatus):
            await control.dial()
        faults = await control.throw(access_token="of-tomorrow")
        assert faults["token_expired"] is False
        assert "of-tomorrow" not in str(faults)
        assert control.broker.access_token == "of-tomorrow"
        async with control.dial():
            pass

    with_control(scenario)


def test_the_newest_sockets_are_dropped() -> None:
    async def scenario(control: Control) -> None:
        clients = [await control.dial() for _ in range(3)]
        await control.throw(drop_newest=1)
        await asyncio.wait_for(clients[2].wait_closed(), DEADLINE)
        assert [listed["id"] for listed in await control.get("/sockets")] == [1, 2]
        for client in clients:
            await client.close()

    with_control(scenario)


def test_an_unknown_switch_is_refused_and_nothing_of_the_order_is_done() -> None:
    async def scenario(control: Control) -> None:
        status, answer = await control.post("/faults", '{"down": true, "explode": 1}')
        assert status == 400
        assert "unknown field `explode`" in answer["error"]
        assert "drop_newest" in answer["error"]
        assert (await control.get("/faults"))["down"] is False

    with_control(scenario)


def test_toxics_are_added_shown_and_removed() -> None:
    async def scenario(control: Control) -> None:
        assert [toxic["name"] for toxic in await control.get("/toxics")] == ["sliced"]
        order = {"name": "slow", "type": "latency", "attributes": {"latency": 20}}
        status, added = await control.post("/toxics", json.dumps(order))
        assert (status, added["attributes"]) == (200, {"latency": 20, "jitter": 0})
        assert (await control.get("/toxics"))[1] == added
        status, answer = await control.post("/toxics", json.dumps(order))
        assert status == 400
        assert "a toxic 'slow' already" in answer["error"]
        assert await control.delete("/toxics/sliced") == (200, {})
        assert await control.get("/toxics") == [added]
        status, answer = await control.delete("/toxics/sliced")
        assert status == 404
        assert "there are ['slow']" in answer["error"]
        status, answer = await control.post("/toxics", '{"type": "fog"}')
        assert status == 400
        assert "'fog' is not a toxic. Toxics: latency" in answer["error"]

    with_control(scenario, toxics={"sliced": Slicer(average_size=64)})


def test_the_proxy_is_disabled_and_enabled_and_counts() -> None:
    async def scenario(control: Control) -> None:
        async with control.dial() as client:
            await subscribed(client, 408065)
            stats = (await control.get("/stats"))["proxy"]
            assert (stats["enabled"], stats["connections"], stats["connections_total"]) == (True, 1, 1)
            assert min(stats["downstream_bytes"], stats["upstream_bytes"]) > 100
            status, report = await control.post("/proxy", '{"enabled": false}')
            assert (status, report["enabled"], report["connections"]) == (200, False, 0)
            await asyncio.wait_for(client.wait_closed(), DEADLINE)
            assert client.close_code == 1006
        with pytest.raises(ConnectionRefusedError):
            await control.dial()
        assert (await control.post("/proxy", '{"enabled": true}'))[1]["enabled"] is True
        async with control.dial():
            pass
        assert (await control.post("/proxy", "{}"))[0] == 400

    with_control(scenario, toxics={})


def test_without_a_proxy_the_answer_says_how_to_have_one() -> None:
    async def scenario(control: Control) -> None:
        for status, answer in (
            await control.post("/toxics", '{"type": "timeout"}'),
            await control.post("/proxy", '{"enabled": true}'),
            await control.delete("/toxics/timeout_downstream"),
        ):
            assert status == 404
            assert "--faults none" in answer["error"]
        assert (await control.get("/stats"))["proxy"] is None

    with_control(scenario)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": "evil.example"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/faults"), ("GET", "/orders"), ("POST", "/step")])
def test_a_page_of_another_host_steers_nothing_and_sees_nothing(
    headers: dict[str, str], method: str, path: str
) -> None:
    async def run() -> None:
        async with KiteSimulator(rate=0) as broker, aiohttp.ClientSession(broker.control_url) as session:
            async with session.request(method, path, data='{"latency_ms": 250}', headers=headers) as answer:
                assert answer.status == 403
                assert "error" in await answer.json()
            assert broker.faults.latency_ms == 0

    asyncio.run(asyncio.wait_for(run(), 30))
