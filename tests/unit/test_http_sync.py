"""The blocking HTTP client, from plain threads, against a broker in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from brokerpool import CallFailedError, Lane, OutcomeUnknown, PoolClosedError, sync
from tests.http_server import AUTHORITY, SERVER_TLS, Reply, ScriptedBroker
from tests.rehearsal import until


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    """A scripted broker on another thread's loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    scripted = ScriptedBroker(SERVER_TLS)
    asyncio.run_coroutine_threadsafe(scripted.start(), loop).result(10)
    yield scripted
    asyncio.run_coroutine_threadsafe(scripted.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def client(broker: ScriptedBroker, **options: Any) -> sync.BrokerClient:
    return sync.BrokerClient(broker.url, name="script", ssl_context=AUTHORITY.trusted(), **options)


def test_a_script_without_async_calls_over_one_kept_connection(broker: ScriptedBroker) -> None:
    with client(broker, pool_maxsize=4) as calls:
        for _ in range(10):
            assert calls.request("GET", "/quote", params={"i": "NSE:INFY"}).json() == {"status": "success"}
        assert calls.stats()["reuse_ratio"] == 0.9
        assert broker.accepted == 1
        assert calls.warm_up() == 4
        calls.keep_warm(interval=30)
        assert "script" in repr(calls)


def test_threads_share_the_connections(broker: ScriptedBroker) -> None:
    broker.script = lambda seen: Reply(delay=0.005)
    with client(broker, pool_maxsize=3) as calls:
        threads = [
            threading.Thread(target=lambda: [calls.request("GET", "/x") for _ in range(10)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert broker.count() == 80
        assert broker.peak == 3


def test_errors_come_through_and_an_order_in_doubt_can_be_reconciled(broker: ScriptedBroker) -> None:
    async def reconcile(tag: str) -> str:
        return f"found {tag}"

    with client(broker, reconcile=reconcile) as calls:
        broker.script = lambda seen: Reply(status=None, then="close")
        with pytest.raises(OutcomeUnknown) as caught:
            calls.request("POST", "/order", json={"tag": "7"}, order_tag="7", lane=Lane.PLACE)
        assert calls.reconcile(caught.value) == "found 7"
        with pytest.raises(OutcomeUnknown) as untagged:
            calls.request("POST", "/order")
        with pytest.raises(ValueError, match="no tag by which a reconcile hook"):
            calls.reconcile(untagged.value)
        broker.script = lambda seen: Reply(delay=5)
        with pytest.raises(CallFailedError, match="CALL_TIMED_OUT"):
            calls.request("GET", "/slow", timeout=0.05)


def test_a_closed_client_says_so_and_leaves_no_thread(broker: ScriptedBroker) -> None:
    before = threading.active_count()
    calls = client(broker)
    calls.request("GET", "/x")
    calls.close()
    calls.drain()
    assert threading.active_count() == before
    asyncio.run(until(lambda: broker.open == 0))
    for use in (lambda: calls.request("GET", "/x"), calls.stats, calls.warm_up, calls.keep_warm):
        with pytest.raises(PoolClosedError, match="client script is closed"):
            use()


def test_a_hook_that_wants_to_end_the_process_does_not_end_the_thread_of_the_calls(
    broker: ScriptedBroker,
) -> None:
    def carried(*_: object) -> None:
        raise SystemExit(1)

    with client(broker, carried=carried) as calls:
        for _ in range(3):
            assert calls.request("POST", "/orders", order_tag="7").status == 200
        assert calls.stats()["faults"] == {"carried": 3}
