"""Keys, tokens and order contents stay out of logs, errors, statistics and `repr`."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator

import pytest

from brokerpool import BrokerClient, BrokerpoolError, Credentials, Lane, Login, RateLimits, RateWindow
from brokerpool.http.authorization import Authorization
from brokerpool.http.call import Call
from brokerpool.http.client import bearer
from tests.http_server import Reply, ScriptedBroker, broker_and_client
from tests.rehearsal import until

SECRET = "s3cr3t"


def endings() -> Iterator[tuple[Reply, dict[str, float]]]:
    """How a broker may end a call."""
    yield Reply(body=f'"{SECRET}"'.encode()), {}
    yield Reply(500, body=SECRET.encode()), {}
    yield Reply(401, body=SECRET.encode()), {}
    yield Reply(429, headers={"Retry-After": "60"}), {}
    yield Reply(302, headers={"Location": f"/?token={SECRET}"}), {}
    yield Reply(status=None, then="reset"), {}
    yield Reply(cut=2, then="close", body=SECRET.encode()), {}
    yield Reply(delay=5), {"timeout": 0.05}
    yield Reply(body_delay=5), {"timeout": 0.05}
    yield Reply(body=SECRET.encode() * 1000), {}
    yield Reply(headers={"X-Bad\x00": SECRET}), {}


async def cancelled(client: BrokerClient, broker: ScriptedBroker) -> None:
    """Call a slow broker, and call it off once it has begun, if it does."""
    order = client.request("POST", "/x", params={"t": SECRET}, data={"pin": SECRET}, order_tag="1")
    task = asyncio.create_task(order)
    before = broker.count()
    await until(lambda: broker.count() > before or task.done())
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or SECRET not in str(task.exception())


def test_no_secret_is_told_however_a_call_ends(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)  # asyncio then logs the repr of slow callbacks and of tasks
        for method, lane in (("GET", Lane.QUERY), ("POST", Lane.PLACE), ("DELETE", Lane.CANCEL)):
            for reply, options in endings():
                async with broker_and_client(
                    tls=True,
                    max_body_bytes=4096,
                    max_wait=0.05,
                    limits=RateLimits({"rare": (RateWindow(1, 60.0),)}),
                    login=Login(Credentials(SECRET)),
                ) as (broker, client):
                    broker.script = lambda seen, reply=reply: reply  # type: ignore[misc]  # mypy: a default is no type
                    for _ in range(2):
                        try:
                            answer = await client.request(
                                method,
                                "/x",
                                params={"access_token": SECRET},
                                headers={"X-Pin": SECRET},
                                data=None if method == "GET" else {"pin": SECRET},
                                lane=lane,
                                group="rare",
                                **options,  # type: ignore[arg-type]
                            )
                        except BrokerpoolError as error:
                            told.extend((str(error), repr(error), *traceback.format_exception(error)))
                        else:
                            told.append(repr(answer))
                            try:
                                answer.json()
                            except BrokerpoolError as error:
                                told.append(str(error))
                    told.extend((repr(client), str(client.stats())))
                    broker.script = lambda seen: Reply(delay=5)
                    await cancelled(client, broker)
                    told.append(str(client.stats()))
                    broker.stop_listening()
                    for link in list(broker.links):
                        link.abort()
                    with pytest.raises(BrokerpoolError) as refused:
                        await client.request("POST", "/x", params={"t": SECRET}, order_tag="1", timeout=0.5)
                    told.extend((str(refused.value), *traceback.format_exception(refused.value)))

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())
    assert len(told) > 200
    assert not [text for text in told if SECRET in text]
    assert SECRET not in caplog.text


def test_the_parts_of_a_call_show_no_secret_either() -> None:
    call = Call(
        "post", f"https://broker/x?token={SECRET}", headers={"Authorization": SECRET}, data={"pin": SECRET}
    )
    assert repr(call) == "<Call POST /x>"
    assert call.label == "POST /x"
    assert SECRET not in repr(Authorization(Login(Credentials(SECRET)), bearer))
