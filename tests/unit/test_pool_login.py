"""The token's day: dead credentials, new ones from a provider or a file, and a new instrument list."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from brokerpool import Credentials, TokenBook, WebSocketPool, ZerodhaFeed
from brokerpool.gateway.reload import SettingsWatch
from brokerpool.settings import Settings
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.rehearsal import Prompt, demanded, feed, instruments, no_task_dies, rehearsal, served, until


def states(pool: WebSocketPool) -> list[str]:
    return [c["state"] for c in pool.get_pool_stats()["websocket"]["per_connection"]]


def test_a_provider_is_asked_by_one_party_at_a_time_and_its_new_token_restores_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("brokerpool.brokers.retry_pacing.SHORTEST_SECONDS", 0.1)
    asked = under_way = most = 0

    async def main() -> None:
        async with no_task_dies(), KiteSimulator(symbols=30, rate=300) as broker:

            async def provider() -> Credentials:
                nonlocal asked, under_way, most
                asked, under_way = asked + 1, under_way + 1
                most = max(most, under_way)
                await asyncio.sleep(0.02)
                under_way -= 1
                if asked == 1:
                    raise RuntimeError("the login page is down")
                return Credentials(broker.access_token)

            plain = feed(broker)
            zerodha = ZerodhaFeed(
                broker.api_key,
                "yesterday",
                ws_url=broker.ws_url,
                book=plain.book,
                limits=plain.limits,
                provider=provider,
            )
            async with WebSocketPool(zerodha, max_symbols=10, random=Prompt()) as pool:
                every = instruments(broker)
                pool.subscribe(every)
                await pool.wait_live(every)
                refused = broker.stats()["refusals"]["403"]
                assert refused <= 9
                assert (asked, most) == (2, 1)
                assert [e.event.value for e in pool.journal.entries()].count("renewed") == 1

    asyncio.run(main())


def test_a_token_whose_end_is_known_is_renewed_ahead_and_the_sockets_are_replaced_without_a_hole() -> None:

    async def main() -> None:
        async with no_task_dies(), KiteSimulator(symbols=10, rate=300) as broker:

            async def provider() -> Credentials:
                broker.renew_token("tomorrow")
                return Credentials("tomorrow", expires_at=pool_clock[0] + 86_400)

            pool_clock = [1_000_000.0]
            plain = feed(broker, silence_seconds=1.0)
            zerodha = ZerodhaFeed(
                broker.api_key,
                "wrong",
                ws_url=broker.ws_url,
                book=plain.book,
                limits=plain.limits,
                provider=provider,
            )
            zerodha.login.renew(Credentials(broker.access_token, expires_at=pool_clock[0] + 0.8))
            async with WebSocketPool(zerodha, random=Prompt(), wall_clock=lambda: pool_clock[0]) as pool:
                every = instruments(broker)
                pool.subscribe(every)
                await pool.wait_live(every)
                pool_clock[0] += 3_600  # a jump of the wall clock asks for nothing
                await until(lambda: list(broker.sockets()[0]["tokens"]) and broker.sockets()[0]["id"] == 2)
                assert served(broker) == demanded(pool)
                assert pool.get_pool_stats()["websocket"]["gaps_total"] == 0
                assert broker.stats()["refusals"] == {}

    asyncio.run(main())


def test_a_new_instrument_list_moves_subscriptions_to_the_new_tokens_and_never_shows_a_wrong_name() -> None:
    async def main() -> None:
        async with rehearsal(symbols=6) as (broker, pool):
            one, two, three, four = instruments(broker, 4)
            pool.subscribe([one, two, three])
            await pool.wait_live([one, two, three])
            old = {i: pool.feed.book.token(i) for i in (one, two, three, four)}
            # Overnight two contracts have changed tokens; the third's went to the fourth.
            entries = [(one, old[two]), (two, old[one]), (four, old[three])]
            assert isinstance(pool.feed, ZerodhaFeed)
            pool.feed.relist(TokenBook([(i, token) for i, token in entries if token is not None]))
            assert pool.relist() == 2
            assert pool.demand.instruments() == (one, two)
            await until(lambda: served(broker) == demanded(pool))
            with pool.ticks() as ticks:
                await broker.step(30)
                last = {tick.instrument: tick.ltp for tick in [await anext(ticks) for _ in range(10)]}
            quotes = {row.tradingsymbol: broker.market.quotes[row.token] for row in broker.listings}
            assert last == {one: quotes[two.symbol].ltp / 100, two: quotes[one.symbol].ltp / 100}

    asyncio.run(main())


SECRETS = {"BROKERPOOL_API_KEY": "gateway-key-0123456789", "BROKERPOOL_BROKER_API_KEY": "k"}


def test_a_changed_settings_file_gives_its_token_and_what_needs_a_restart_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokerpool.gateway.reload.LOOK_SECONDS", 0.02)
    caplog.set_level(logging.INFO)
    file = tmp_path / "a.env"

    def write(token: str, **more: str) -> None:
        rows = {**SECRETS, "BROKERPOOL_BROKER_ACCESS_TOKEN": token, **more}
        new = tmp_path / "new"
        new.write_text("".join(f"{name}={value}\n" for name, value in rows.items()))
        new.replace(file)

    def read() -> Settings:
        return Settings.load(env_file=file, environ={})

    async def main() -> None:
        write("first")
        asked = asyncio.Event()
        tokens = SettingsWatch([file], read, read(), asked).tokens()
        waiting = asyncio.ensure_future(anext(tokens))
        await asyncio.sleep(0.1)
        assert not waiting.done(), "nothing has changed"
        file.write_text("BROKERPOOL_NONSENSE=1\n")
        await until(lambda: "the changed settings are not used" in caplog.text)
        write("second", WEBSOCKET_PORT="9999")
        async with asyncio.timeout(5):
            assert await waiting == {"zerodha": "second"}
            assert "changed, and not in use before a restart: WEBSOCKET_PORT" in caplog.text
            waiting = asyncio.ensure_future(anext(tokens))
            asked.set()
            assert await waiting == {"zerodha": "second"}, "read again because somebody asked"
        assert "second" not in caplog.text
        await tokens.aclose()

    asyncio.run(main())


def test_a_new_key_in_the_file_is_a_new_login_where_the_key_is_the_login_and_the_same_key_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokerpool.gateway.reload.LOOK_SECONDS", 0.02)
    file = tmp_path / "a.env"

    def write(key: str) -> None:
        rows = {**SECRETS, "BROKERPOOL_BROKER": "openalgo", "BROKERPOOL_BROKER_API_KEY": key}
        file.write_text("".join(f"{name}={value}\n" for name, value in rows.items()))

    def read() -> Settings:
        return Settings.load(env_file=file, environ={})

    async def main() -> None:
        write("first")
        asked = asyncio.Event()
        tokens = SettingsWatch([file], read, read(), asked).tokens()
        async with asyncio.timeout(10):
            asked.set()
            assert await anext(tokens) == {}, "one that `brokerpool login` has stored stays in use"
            write("the second key")
            asked.set()
            assert await anext(tokens) == {"openalgo": "the second key"}
        assert "restart" not in caplog.text
        await tokens.aclose()

    asyncio.run(main())
