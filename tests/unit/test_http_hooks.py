"""Hooks of the HTTP client that raise, hang or give nonsense: no order loses its answer by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from brokerpool import (
    BrokerClient,
    CallRefusedError,
    Credentials,
    ErrorCode,
    Lane,
    Login,
    OutcomeUnknown,
)
from brokerpool.brokers import login as login_module
from brokerpool.brokers import retry_pacing
from brokerpool.errors import BrokerError, CallFailedError
from brokerpool.http import user_hooks as hooks_module
from tests.http_server import Reply, broker_and_client
from tests.rehearsal import instruments, until
from tests.unit.test_broker_api import broker_and_api

ORDER: dict[str, Any] = {"data": {"quantity": 1}, "lane": Lane.PLACE, "order_tag": "tag-7"}
FAULTS = [RuntimeError("a bug"), asyncio.CancelledError(), TimeoutError(), GeneratorExit()]


def raises(error: BaseException) -> Callable[..., Any]:
    def hook(*_: object) -> Any:
        raise error

    return hook


@pytest.mark.parametrize("error", FAULTS)
@pytest.mark.parametrize("hook", ["carried", "too_fast"])
def test_an_accepted_order_keeps_its_answer_whatever_a_hook_raises(hook: str, error: BaseException) -> None:
    async def main() -> None:
        options: dict[str, Any] = {hook: raises(error)}
        async with broker_and_client(**options) as (broker, client):
            answer = await client.request("POST", "/orders", **ORDER)
            assert answer.status == 200
            assert broker.count("POST") == 1
            assert client.stats()["faults"] == {hook: 1}

    asyncio.run(main())


@pytest.mark.parametrize("error", FAULTS)
def test_an_order_that_was_refused_keeps_its_answer_though_refuses_raises(error: BaseException) -> None:
    async def main() -> None:
        login = Login(Credentials("token"))
        async with broker_and_client(refuses=raises(error), login=login) as (broker, client):
            broker.script = lambda seen: Reply(403)
            assert (await client.request("POST", "/orders", **ORDER)).status == 403
            assert not login.refused
            assert client.stats()["faults"] == {"refuses": 1}

    asyncio.run(main())


async def hangs() -> Credentials:
    await asyncio.sleep(1e6)
    raise AssertionError


async def fails() -> Credentials:
    raise RuntimeError("secret-of-the-vault")


async def cancels() -> Credentials:
    raise asyncio.CancelledError


async def gives_text() -> Any:
    return "a token"


@pytest.mark.parametrize("provider", [hangs, fails, cancels, gives_text])
def test_an_order_that_was_refused_keeps_its_answer_whatever_the_provider_does(
    provider: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        login = Login(Credentials("token"), provider)
        async with broker_and_client(login=login) as (broker, client):
            broker.script = lambda seen: Reply(403, b"no permission")
            answer = await client.request("POST", "/orders", timeout=0.3, **ORDER)
            assert (answer.status, answer.body) == (403, b"no permission")
            assert broker.count("POST") == 1
            if provider is not hangs:
                assert client.stats()["faults"] == {provider.__name__: 1}

    asyncio.run(main())
    assert "secret-of-the-vault" not in caplog.text


def test_a_provider_that_ignores_its_cancellation_is_given_up_and_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(login_module, "PROVIDER_SECONDS", 0.05)
    monkeypatch.setattr(retry_pacing, "SHORTEST_SECONDS", 0.02)

    async def main() -> None:
        released = asyncio.Event()
        asked = 0

        async def stubborn() -> Credentials:
            nonlocal asked
            asked += 1
            while asked == 1 and not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue
            return Credentials("tuesday")

        login = Login(Credentials("monday"), stubborn)
        assert not await login.refresh()
        await asyncio.sleep(login.rest)
        assert await login.refresh()
        assert login.credentials.access_token == "tuesday"
        assert login.fence.faults == {"stubborn": 1}
        released.set()
        await until(lambda: len(asyncio.all_tasks()) == 1)

    asyncio.run(main())


@pytest.mark.parametrize(
    "proof", [raises(KeyError("token-in-the-text")), lambda credentials: None, lambda credentials: {"A": 1}]
)
def test_without_the_headers_of_the_login_nothing_is_sent_and_the_caller_is_told_so(
    proof: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        login = Login(Credentials("token"))
        async with broker_and_client(proof=proof, login=login) as (broker, client):
            for _ in range(30):  # more than there are slots: each gives its own back
                with pytest.raises(CallRefusedError) as caught:
                    await client.request("POST", "/orders", **ORDER)
                assert caught.value.code is ErrorCode.HOOK_FAILED
            assert broker.seen == []
            assert client.stats()["active_connections"] == 0
            assert client.stats()["faults"] == {"proof": 30}

    asyncio.run(main())
    assert "token-in-the-text" not in caplog.text


def test_hooks_that_nobody_would_await_or_could_call_are_refused_when_the_client_is_made() -> None:
    async def late(*_: object) -> bool:
        return False

    for name in ("carried", "too_fast", "refuses", "proof"):
        for hook in (late, None, 7):
            with pytest.raises(TypeError, match=name):
                BrokerClient("http://127.0.0.1:1", name="b", **{name: hook})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="reconcile"):
        BrokerClient("http://127.0.0.1:1", name="b", reconcile=7)  # type: ignore[arg-type]


# -- reconcile --------------------------------------------------------------------------------------------


async def in_doubt(client: BrokerClient) -> OutcomeUnknown:
    with pytest.raises(OutcomeUnknown) as caught:
        await client.request("POST", "/orders", **ORDER)
    return caught.value


def test_a_reconcile_hook_that_raises_or_hangs_leaves_the_order_unknown_and_may_be_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hooks_module, "RECONCILE_SECONDS", 0.05)
    bug = KeyError("a bug")

    async def main() -> None:
        turn = 0

        async def reconcile(tag: str) -> str:
            nonlocal turn
            turn += 1
            if turn == 1:
                raise bug
            if turn == 2:
                raise asyncio.CancelledError
            if turn == 3:
                await asyncio.sleep(1e6)
            return f"found {tag}"

        async with broker_and_client(reconcile=reconcile) as (broker, client):
            broker.script = lambda seen: Reply(500)
            error = await in_doubt(client)
            causes = []
            for _ in range(3):
                with pytest.raises(OutcomeUnknown, match="still unknown") as caught:
                    await error.reconcile()
                error = caught.value
                assert error.tag == "tag-7"
                causes.append(error.__cause__)
            assert causes[0] is bug
            assert await error.reconcile() == "found tag-7"
            assert client.stats()["faults"] == {"reconcile": 3}
            assert client.stats()["outcomes_unknown"] == 1

    asyncio.run(main())


def test_what_the_broker_is_asked_by_a_reconcile_hook_may_fail_as_it_does_elsewhere() -> None:
    async def main() -> None:
        async def reconcile(tag: str) -> Any:
            return await client.request("GET", "/orders")

        async with broker_and_client(reconcile=reconcile, max_retries=0) as (broker, client):
            broker.script = lambda seen: Reply(500) if seen.method == "POST" else Reply(then="reset", cut=3)
            error = await in_doubt(client)
            with pytest.raises(CallFailedError):
                await error.reconcile()
            assert client.stats()["faults"] == {}

    asyncio.run(main())


# -- around the client ------------------------------------------------------------------------------------


def test_connections_are_kept_warm_again_after_when_has_raised() -> None:
    asked = 0

    def when() -> bool:
        nonlocal asked
        asked += 1
        if asked <= 2:
            raise RuntimeError
        return True

    async def main() -> None:
        async with broker_and_client() as (broker, client):
            await client.request("GET", "/")
            client.keep_warm("/warm", interval=0.02, when=when)
            await until(lambda: broker.count("GET", "/warm") > 0)
            assert client.stats()["faults"] == {"when": 2}

    asyncio.run(main())


@pytest.mark.parametrize("live", [raises(RuntimeError("a bug")), lambda instrument: "100.0"])
def test_where_live_raises_or_gives_nonsense_the_broker_is_asked(live: Callable[..., Any]) -> None:
    async def main() -> None:
        async with broker_and_api(live=live) as (broker, api):
            wanted = instruments(broker)[:3]
            assert set(await api.ltp(wanted)) == set(await api.quotes(wanted)) == set(wanted)

    asyncio.run(main())


@pytest.mark.parametrize("method", ["read_ltp", "fault"])
def test_a_codec_that_raises_is_an_answer_that_is_not_understood(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with broker_and_api() as (broker, api):
            monkeypatch.setattr(api._codec, method, raises(KeyError("last_price")))
            if method == "read_ltp":
                api._ltp = api._batcher(api._codec.ltp, api._codec.read_ltp, 10)
            with pytest.raises(BrokerError) as caught:
                await api.ltp(instruments(broker)[:1])
            assert caught.value.code is ErrorCode.BROKER_UNREACHABLE
            assert sum(api.stats()["faults"].values()) == 1

    asyncio.run(main())
