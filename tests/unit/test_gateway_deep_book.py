"""Clients of depth 20 beside clients of depth 5, over real sockets: levels come and go, ticks do not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from brokerpool import SettingsError
from brokerpool.brokers import registry
from brokerpool.brokers.login import Credentials
from brokerpool.gateway.assembly import account_services, compose
from brokerpool.gateway.gateway_database import Persistence
from brokerpool.gateway.started_account import started
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.monitor.metric_vocabulary.field_descriptions import VOCABULARY
from brokerpool.monitor.prometheus_text import Exposition
from brokerpool.settings import Settings
from brokerpool.simulator.dhan.broker import DhanSimulator
from brokerpool.simulator.dhan.depth20 import Depth20Feed
from brokerpool.simulator.zerodha.broker import KiteSimulator
from brokerpool.ticks import Mode
from tests.gateway_client import KEY, client
from tests.rehearsal import feed, no_task_dies, until
from tests.unit.deep_book_stage import connections, received, sizes, staged, subscribe


def test_a_client_of_depth_20_gets_20_levels_beside_one_of_depth_5_who_sees_no_change() -> None:
    async def main() -> None:
        async with staged() as stage, client(stage.served_by) as few, client(stage.served_by) as many:
            share = stage.shares(1)[0]
            assert [item["depth"] for item in await subscribe(few, share, depth=5)] == [5]
            await few.take(1)
            await stage.trade()
            alone = await few.drain()
            assert [item["depth"] for item in await subscribe(many, share, depth=20)] == [20]
            await stage.books(1)
            await until(lambda: received(stage.deep) == 1)
            await many.drain()
            rounds = 3
            for _ in range(rounds):
                await stage.trade()
                frames = await many.drain()
                assert len(frames) == 2, "one for the tick, and one for the book"
                assert sizes(frames) == {20}
                newest = frames[-1]
                assert newest["data"]["depth"] == stage.levels(share)
                assert {(f["mode"], f["data"]["ltp"], f["data"]["volume"]) for f in frames} == {
                    (3, newest["data"]["ltp"], newest["data"]["volume"])
                }
            beside = await few.drain()
            assert len(beside) == rounds * len(alone) == rounds, "not one frame more"
            assert sizes(beside) == {5}
            assert beside[-1]["data"]["ltp"] == newest["data"]["ltp"]
            assert beside[-1]["data"].keys() == newest["data"].keys() == alone[0]["data"].keys()

    asyncio.run(main())


def test_each_symbol_is_told_the_levels_that_it_gets() -> None:
    async def main() -> None:
        async with staged(symbols=200) as stage, client(stage.served_by) as program:
            index = next(i for i in stage.account.book if i.exchange == "NSE_INDEX")
            share = stage.shares(1)[0]
            cases: list[tuple[object, dict[str, Any], list[int]]] = [
                (20, {}, [20, 5]),
                (50, {}, [20, 5]),
                (None, {"depth_level": 20}, [20, 5]),
                (6, {}, [20, 5]),
                (5, {}, [5, 5]),
                (None, {}, [5, 5]),
                (20, {"mode": 2}, [5, 5]),
                ("20", {}, [5, 5]),
                (True, {}, [5, 5]),
            ]
            for asked, more, told in cases:
                items = await subscribe(program, share, index, depth=asked, **more)
                assert [item["depth"] for item in items] == told, (asked, more)
                assert all(item["status"] == "success" and "code" not in item for item in items)
                assert len(stage.deep.demand) == told.count(20)
            assert [item["depth"] for item in await subscribe(program, index, depth=20)] == [5]
            unknown = Instrument("NSE", "NO SUCH SHARE")
            assert [item["code"] for item in await subscribe(program, unknown, depth=20)] == [
                "SYMBOL_NOT_FOUND"
            ]
            assert len(stage.deep.demand) == 0

    asyncio.run(main())


def test_a_client_is_told_of_which_symbols_it_holds_the_deeper_book() -> None:
    async def main() -> None:
        async with staged() as stage, client(stage.served_by) as program:
            share, other = stage.shares(2)
            await subscribe(program, share, depth=20)
            await subscribe(program, share, other, depth=5, mode=1)
            await subscribe(program, other, depth=5)
            told = (await program.ask(action="list_subscriptions"))["subscriptions"]
            held = [(item["symbol"], item["mode"], item.get("depth")) for item in told]
            assert held == [
                (share.symbol, 1, None),
                (share.symbol, 3, 20),
                (other.symbol, 1, None),
                (other.symbol, 3, None),
            ]

    asyncio.run(main())


def test_without_the_setting_there_are_5_levels_and_no_second_feed() -> None:
    async def main() -> None:
        async with staged(deep_book="false") as stage, client(stage.served_by) as program:
            assert [item["depth"] for item in await subscribe(program, *stage.shares(1), depth=20)] == [5]
            assert stage.served_by._deep_feed is None
            assert "deep_book" not in stage.served_by.stats()
            assert stage.broker.depth20.stats()["dials"] == 0

    asyncio.run(main())


def test_its_numbers_are_described_and_stand_apart_in_the_metrics() -> None:
    async def main() -> None:
        async with staged() as stage, client(stage.served_by) as program:
            await subscribe(program, *stage.shares(3), depth=20)
            await stage.books(3)
            stats = stage.served_by.stats()
            values = [value for value in VOCABULARY.values(stats) if value.path.startswith("deep_book.")]
            assert [value.path for value in values if value.field is None] == []
            described = {field.path for field in VOCABULARY.fields if field.path.startswith("deep_book.")}
            assert described - {value.path for value in values} == {"deep_book.faults{source}"}
            written = b"".join(Exposition().pieces(stats)).decode()
            assert "brokerpool_deep_book_symbols 3.0\n" in written
            assert 'brokerpool_deep_book_account_connected{account="dhan-depth20"} 1.0\n' in written
            assert "brokerpool_websocket_symbols 3.0\n" in written

    asyncio.run(main())


def test_nothing_is_dialled_there_before_a_client_wants_it() -> None:
    async def main() -> None:
        async with staged() as stage, client(stage.served_by) as program:
            await subscribe(program, *stage.shares(3), depth=5)
            await program.take(3)
            assert stage.broker.depth20.stats()["dials"] == 0
            assert stage.served_by.stats()["deep_book"]["connections"] == 0
            await subscribe(program, *stage.shares(3), depth=20)
            await stage.books(3)
            told = stage.served_by.stats()["deep_book"]
            assert [c["name"] for c in told["per_connection"]] == ["dhan-depth20-1"]
            assert told["total_symbols"] == 3

    asyncio.run(main())


@pytest.mark.parametrize("how", ["unsubscribe", "unsubscribe_all", "depth 5", "leave"])
def test_a_book_that_nobody_wants_is_given_up(how: str) -> None:
    async def main() -> None:
        async with staged() as stage, client(stage.served_by) as program, client(stage.served_by) as other:
            share, kept = stage.shares(2)
            await subscribe(program, share, depth=20)
            await subscribe(other, kept, depth=20)
            await stage.books(2)
            match how:
                case "unsubscribe":
                    await program.ask(action="unsubscribe", symbol=share.symbol, exchange="NSE", mode=3)
                case "unsubscribe_all":
                    await program.ask(action="unsubscribe_all")
                case "depth 5":
                    await subscribe(program, share, depth=5)
                case "leave":
                    await program.connection.close()
            await stage.books(1)
            assert stage.deep.demand.instruments() == (kept,)
            if how == "depth 5":
                await program.take(1)  # the tick with which the broker answers the request for it
                await stage.trade()
                frames = await program.drain()
                assert (len(frames), sizes(frames)) == (1, {5})

    asyncio.run(main())


def test_an_outage_of_the_second_endpoint_costs_levels_and_no_tick() -> None:
    async def main() -> None:
        async with staged() as stage, client(stage.served_by) as few, client(stage.served_by) as many:
            share = stage.shares(1)[0]
            await subscribe(few, share, depth=5)
            await subscribe(many, share, depth=20)
            await stage.books(1)
            await stage.trade()
            await many.drain()
            await few.drain()
            stage.broker.depth20.down = True
            stage.broker.depth20.abort()
            await until(lambda: stage.deep.gap(share))
            await stage.trade()
            frames = await many.drain()
            assert (len(frames), sizes(frames)) == (1, {5}), "an old book was shown"
            (stale,) = many.symbol_news
            assert (stale["status"], stale["mode"], stale["depth"]) == ("depth_stale", 3, 20)
            assert (stale["symbol"], stale["broker"]) == (share.symbol, "dhan")
            # A client that comes meanwhile has the levels of the tick.
            async with client(stage.served_by) as late:
                await subscribe(late, share, depth=20)
                known = await late.drain()
                assert sizes(known) == {5}
            stage.broker.depth20.down = False
            await stage.books(1)
            await until(lambda: stage.deep.gap(share) is None)
            await stage.trade()
            frames = await many.drain()
            assert frames[-1]["data"]["depth"] == stage.levels(share)
            gap = many.symbol_news[-1]
            assert (gap["status"], gap["from"]) == ("depth_gap", stale["from"])
            assert gap["to"] >= gap["from"]
            assert len(many.symbol_news) == 2
            await few.drain()
            assert few.symbol_news == [], "a client of depth 5 heard of it"
            assert stage.broker.stats()["dials"] == 1, "the live market feed was dialled again"

    asyncio.run(main())


def test_while_the_ticks_are_away_no_old_price_comes_with_a_new_book() -> None:
    async def main() -> None:
        async with staged() as stage, client(stage.served_by) as program:
            share = stage.shares(1)[0]
            await subscribe(program, share, depth=20)
            await stage.books(1)
            await stage.trade()
            await program.drain()
            await stage.broker.throw(stage.broker.order_type.parse(b'{"refuse": {"status": 503}}'))
            stage.broker.kill(stage.broker.sockets()[0]["id"])
            await until(lambda: stage.served_by.upstream.gap(share))
            books = received(stage.deep)
            await stage.broker.step(len(stage.broker.listings))
            await until(lambda: received(stage.deep) > books)
            assert await program.drain() == []
            assert [news["status"] for news in program.symbol_news] == ["stale"]
            await stage.broker.throw(stage.broker.order_type.parse(b'{"refuse": null}'))
            frames = await program.take(1)
            assert frames[0]["data"]["depth"] == stage.levels(share), "the book that came meanwhile is known"

    asyncio.run(main())


def test_a_plan_without_the_depth_is_told_and_the_ticks_go_on() -> None:
    async def main() -> None:
        async with staged() as stage, client(stage.served_by) as program:
            stage.broker.depth20.subscribed = False
            share, other = stage.shares(2)
            assert [item["depth"] for item in await subscribe(program, share, depth=20)] == [20]
            await until(lambda: stage.deep.accounts()[0].login.refused)
            await program.take(1)  # the tick with which the broker answers the request for it
            (stale,) = program.symbol_news
            assert stale["status"] == "depth_stale"
            assert "806" in stale["message"]
            (item,) = await subscribe(program, other, depth=20)
            assert (item["status"], item["depth"]) == ("success", 5)
            assert item["code"] == "BROKER_REFUSED_CREDENTIALS"
            assert "806" in item["message"]
            assert "not subscribed" in item["message"]
            await program.take(1)  # the same for this one
            await stage.trade()
            frames = await program.drain()
            assert (len(frames), sizes(frames)) == (2, {5})
            assert not stage.account.login.refused, "the account was parked for its depth"
            assert stage.served_by.upstream.connected
            # The next login is tried there as well.
            stage.broker.depth20.subscribed = True
            stage.broker.renew_token("the-next-token")
            stage.account.login.renew(Credentials("the-next-token"))
            await stage.books(1)

    asyncio.run(main())


def test_each_symbol_that_is_refused_so_is_told_once_however_many_connections_there_are() -> None:
    async def main() -> None:
        async with staged(symbols=150) as stage, client(stage.served_by) as program:
            stage.broker.depth20.subscribed = False
            shares = stage.shares(120)
            await subscribe(program, *shares, depth=20)
            await until(lambda: [c["state"] for c in connections(stage.deep)] == ["parked"] * 3)
            await program.drain()
            told = [news["symbol"] for news in program.symbol_news if news["status"] == "depth_stale"]
            assert sorted(told) == sorted(share.symbol for share in shares)

    asyncio.run(main())


def test_the_251st_book_is_refused_by_name_and_its_symbol_has_five_levels() -> None:
    async def main() -> None:
        async with staged(symbols=300) as stage, client(stage.served_by) as program:
            shares = stage.shares(251)
            items = await subscribe(program, *shares, depth=20)
            assert [item["status"] for item in items] == ["success"] * 251
            assert [item["depth"] for item in items] == [20] * 250 + [5]
            assert items[-1]["code"] == "MAX_CAPACITY_REACHED"
            assert "dhan-depth20" in items[-1]["message"]
            await stage.books(250)
            ledger = stage.broker.depth20.stats()
            assert (ledger["sockets"], ledger["peak_tokens_per_socket"], ledger["evictions"]) == (5, 50, 0)
            assert not any(ledger["violations"].values())
            await program.drain()
            await stage.trade()
            by_symbol = {frame["symbol"]: frame for frame in await program.drain()}
            assert sizes([by_symbol.pop(shares[-1].symbol)]) == {5}
            assert sizes([*by_symbol.values()]) == {20}

    asyncio.run(main())


def test_a_book_follows_its_symbol_to_the_token_of_the_next_list() -> None:
    async def main() -> None:
        async with staged() as stage:
            (given,) = stage.settings.accounts()
            parts = account_services(stage.settings, given, stage.account, None)
            async with parts.open() as pool:
                deep = parts.open_deep()
                assert deep is not None
                gone, moved, *_ = shares = stage.shares(3)
                for each in (pool, deep):
                    each.subscribe(shares, Mode.DEPTH)
                tokens = {i: stage.account.book.token(i) or 0 for i in shares}
                tokens[moved], tokens[Instrument("NSE", "NEW")] = 77 << 8 | 1, tokens.pop(gone)
                stage.account.relist(TokenBook(tokens.items()))
                assert parts.relist() == 1
                assert deep.demand.instruments() == pool.demand.instruments() == tuple(shares[1:])
                await deep.close()

    asyncio.run(main())


def entries(broker: KiteSimulator | Depth20Feed) -> list[int]:
    """Return how many symbols each open socket of a broker has been asked for."""
    return [socket["entries"] for socket in broker.sockets()]


def test_of_several_accounts_the_one_that_has_books_brings_them_whoever_brings_the_ticks() -> None:
    async def main() -> None:
        async with (
            no_task_dies(),
            KiteSimulator(symbols=30, rate=0) as kite,
            DhanSimulator(symbols=30, rate=0) as dhan,
        ):
            settings = Settings.load(
                environ={
                    "BROKERPOOL_API_KEY": KEY,
                    "BROKERPOOL_ACCOUNTS": "zerodha,dhan",
                    "BROKERPOOL_ACCOUNT_ZERODHA_API_KEY": kite.api_key,
                    "BROKERPOOL_ACCOUNT_DHAN_API_KEY": dhan.api_key,
                    "BROKERPOOL_ACCOUNT_DHAN_ACCESS_TOKEN": dhan.access_token,
                    "BROKERPOOL_ACCOUNT_DHAN_WS_URL": dhan.ws_url,
                    "BROKERPOOL_ACCOUNT_DHAN_HTTP_URL": dhan.http_url,
                    "BROKERPOOL_ACCOUNT_DHAN_DEEP_BOOK": "true",
                    "BROKERPOOL_MARKET_HOURS": "always",
                    "WEBSOCKET_PORT": "0",
                    "BROKERPOOL_HTTP_PORT": "0",
                }
            )
            account = registry.broker("dhan").account(settings.accounts()[1].access())
            account.relist(await account.instruments())
            served_by = compose(settings, feed(kite), account)
            try:
                await served_by.start()
                async with client(served_by) as program:
                    share = next(i for i in account.book if i.exchange == "NSE")
                    (item,) = await subscribe(program, share, depth=20)
                    assert (item["status"], item["depth"]) == ("success", 20)
                    await until(lambda: entries(dhan.depth20) == entries(kite) == [1])
                    await dhan.step(30)
                    await kite.step(30)
                    frames = await program.take(2)
                    assert frames[-1]["broker"] == "zerodha"
                    assert sizes(frames[-1:]) == {20}
                    assert not dhan.sockets(), "the ticks are the first account's"
            finally:
                await served_by.close()

    asyncio.run(main())


def test_a_setting_for_what_the_broker_has_not_is_refused_at_the_start() -> None:
    async def main() -> None:
        settings = Settings.load(
            environ={
                "BROKERPOOL_BROKER": "zerodha",
                "BROKERPOOL_BROKER_API_KEY": "key",
                "BROKERPOOL_BROKER_ACCESS_TOKEN": "token",
                "BROKERPOOL_API_KEY": KEY,
                "BROKERPOOL_BROKER_DEEP_BOOK": "true",
            }
        )
        with pytest.raises(SettingsError, match="BROKERPOOL_BROKER_DEEP_BOOK: zerodha has no deeper"):
            await started(settings.accounts()[0], settings, Persistence(settings))

    asyncio.run(main())
