"""Promises of what operators see of several accounts, and that one account looks as it always has."""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import typer
from rich.console import Console, RenderableType

from brokerpool.brokers.capacity import Capacity
from brokerpool.commands import explain, plan
from brokerpool.commands.account_spread import AccountPlan, spread
from brokerpool.commands.terminal_tables import statistics
from brokerpool.commands.top_table import ConnectionTable
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.placement import fill_first
from brokerpool.feed.router_inspection import route_told
from brokerpool.feed.routing_table import Presence, Way
from brokerpool.gateway.dashboard.snapshot import SYMBOLS as SYMBOLS_NAMED
from brokerpool.gateway.dashboard.snapshot import snapshot
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode
from tests.gateway_client import Client, client, gateway
from tests.measuring import work
from tests.rehearsal import until
from tests.two_accounts import TwoAccounts, two_accounts


@asynccontextmanager
async def shown(symbols: int, **options: Any) -> AsyncIterator[tuple[TwoAccounts, Client, Any]]:
    """Give a gateway over two accounts of which so many symbols are wanted, and what asks it."""
    async with (
        two_accounts(**options) as two,
        client(two.served_by) as session,
        aiohttp.ClientSession(two.served_by.http_url) as http,
    ):

        async def get(path: str) -> Any:
            async with http.get(path) as answer:
                return await answer.json(content_type=None) if path != "/metrics" else await answer.text()

        await session.subscribe(*names(two)[:symbols], mode=2)
        await until(lambda: two.router.symbols_unserved == 0)
        await session.take(symbols)
        yield two, session, get


def names(two: TwoAccounts) -> list[str]:
    return [row.tradingsymbol for row in two.brokers[0].listings if row.exchange == "NSE"]


async def lost(two: TwoAccounts, symbols: int) -> None:
    """Let the first account's login die, and wait until so many of its symbols are carried by the other."""
    await two.refuse_login(0)
    await until(lambda: two.router.accounts()[0].login.refused, seconds=10)
    await until(lambda: two.router.accounts()[0].symbols_away == symbols, seconds=10)
    await until(lambda: two.router.account(Instrument("NSE", names(two)[0])) == "desk2", seconds=10)


def printed(what: RenderableType) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables in what was printed."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line
    ]


def test_stats_and_top_show_a_table_of_the_accounts_above_the_connections_in_order_of_preference() -> None:
    async def main() -> None:
        async with shown(7) as (two, _, get):
            table = ConnectionTable()
            table.take(await get("/stats"), 0.0)
            for view in (printed(statistics(await get("/stats"))), printed(table.view())):
                told = rows(view)
                assert told[:2] == [
                    ["zerodha", "zerodha", "live", "7", "0", "0", "0", "10"],
                    ["desk2", "zerodha", "idle", "0", "0", "0", "0", "10"],
                ]
                assert [row[0] for row in told[2:]] == ["zerodha-1", "zerodha-2"]
                assert "…" not in view
            await lost(two, 7)
            table.take(await get("/stats"), 1.0)
            told = rows(printed(table.view()))
            assert told[:2] == [
                ["zerodha", "zerodha", "no login", "7", "7", "0", "0", "10"],
                ["desk2", "zerodha", "live", "0", "0", "0", "7", "10"],
            ]
            assert "…" not in printed(table.view())
            names_shown = [row[0] for row in told[2:]]
            assert names_shown == ["zerodha-1", "zerodha-2", "desk2-1", "desk2-2"], "account by account"

    asyncio.run(main())


def test_of_one_account_stats_and_top_show_no_table_of_accounts() -> None:
    async def main() -> None:
        async with (
            gateway() as (_, served_by),
            aiohttp.ClientSession(served_by.http_url) as http,
            http.get("/stats") as answer,
        ):
            stats = await answer.json()
            (account,) = stats["websocket"]["accounts"]
            assert (account["name"], account["broker"]) == ("zerodha", "zerodha")
            table = ConnectionTable()
            table.take(stats, 0.0)
            for view in (printed(statistics(stats)), printed(table.view())):
                assert "account" not in view
                assert view.lstrip("┏━┳┓\n").startswith("┃connection")
            del stats["websocket"]["accounts"]  # an older gateway
            assert "account" not in printed(statistics(stats))

    asyncio.run(main())


def test_metrics_have_a_label_for_the_account_and_series_of_each_account() -> None:
    async def main() -> None:
        async with shown(12) as (two, _, get):
            before = await get("/metrics")
            assert (
                'brokerpool_websocket_connection_symbols{account="desk2",connection="desk2-1"} 2.0' in before
            )
            await lost(two, 8)
            text = await get("/metrics")
            for sample in (
                'connected{account="zerodha"} 0.0',
                'connected{account="desk2"} 1.0',
                'login_refused{account="zerodha"} 1.0',
                'symbols_home{account="zerodha"} 10.0',
                'symbols_away{account="zerodha"} 8.0',
                'symbols_down{account="zerodha"} 2.0',
                'symbols{account="desk2"} 10.0',
                'capacity{account="desk2"} 10.0',
            ):
                assert f"brokerpool_websocket_account_{sample}\n" in text
            labelled = {line.partition('account="')[2].partition('"')[0] for line in text.splitlines()}
            assert labelled == {"", "zerodha", "desk2"}, "no more values of the label than there are accounts"

    asyncio.run(main())


def test_explain_tells_which_account_serves_a_symbol_where_its_home_is_and_why() -> None:
    async def main() -> None:
        async with shown(3) as (two, _, get):
            name = names(two)[0]
            at_home = list(explain.lines(await get(f"/explain/NSE:{name}")))
            assert "account:      zerodha" in at_home
            assert "Its account is zerodha." in at_home[0]
            await lost(two, 3)
            await until(lambda: two.router.state(Instrument("NSE", name)) is SymbolState.LIVE, seconds=10)
            told = await get(f"/explain/NSE:{name}")
            assert told["account"] == "desk2"
            away = list(explain.lines(told))
            assert "account:      desk2" in away
            assert "Its account is zerodha, which is out; until then it comes from desk2." in away[0]
            assert [line.split()[1:3] for line in away if line.startswith("connection:")] == [
                ["zerodha-1", "(home),"],
                ["desk2-1", "(hosted),"],
            ]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("home", "feeding", "told"),
    [
        (Presence(out_since=5.0), 0, "home, which is out; guest has it from its first tick there on."),
        (Presence(out_since=5.0), 1, "home, which is out; until then it comes from guest."),
        (Presence(refused=True), 0, "home, which refused it; guest has it from its first tick there on."),
        (Presence(refused=True), 1, "home, which refused it; until then it comes from guest."),
        (Presence(served_since=0.0), 0, "home; guest carries it as well while home may be out again."),
        (
            Presence(out_since=5.0, served_since=9.0),
            1,
            "home, which is back, and has it again once that lasts; until then it comes from guest.",
        ),
    ],
)
def test_where_a_symbol_is_and_goes_is_told_by_how_its_home_stands(
    home: Presence, feeding: int, told: str
) -> None:
    way = Way(home=0, feeding=feeding, mode=Mode.LTP, priority=0, guest=1, at_home=home)
    assert route_told(way, ["home", "guest"]) == f"Its account is {told}"


def test_explain_of_one_account_has_no_line_of_accounts() -> None:
    async def main() -> None:
        async with (
            gateway({"rate": 200}) as (_, served_by),
            client(served_by) as session,
            aiohttp.ClientSession(served_by.http_url) as http,
        ):
            await session.subscribe("INFY")
            await session.take(1)
            async with http.get("/explain/NSE:INFY") as answer:
                told = await answer.json()
            assert told["account"] == "zerodha"
            assert "account" not in "\n".join(explain.lines(told))

    asyncio.run(main())


# -- plan ------------------------------------------------------------------------------------------------

SYMBOLS = [Instrument("NSE", f"S{number}") for number in range(20)]


def small(name: str, **options: Any) -> AccountPlan:
    """An account of two connections with room for three symbols each."""
    return AccountPlan(name, Capacity(3, 2), fill_first, **options)


def test_a_batch_goes_to_the_first_account_with_room_and_what_no_account_takes_is_told() -> None:
    accounts = [small("first", taken=4), small("second")]
    assert spread(accounts, SYMBOLS[:10], Mode.QUOTE) == SYMBOLS[8:10]
    assert [(row.connection, row.symbols, row.room) for a in accounts for row in a.rows(Mode.QUOTE)] == [
        ("first-1", 3, 0),
        ("first-2", 3, 0),
        ("second-1", 3, 0),
        ("second-2", 3, 0),
    ]


def test_a_symbol_goes_to_an_account_that_serves_its_exchange_only() -> None:
    accounts = [small("first", exchanges=["NFO"]), small("second", exchanges=["NSE", "BSE"])]
    other = Instrument("MCX", "GOLD")
    assert spread(accounts, [*SYMBOLS[:2], other], Mode.QUOTE) == [other]
    assert [account.room(Mode.QUOTE) for account in accounts] == [6, 4]


CONFIG = """
BROKERPOOL_API_KEY = "gateway-key-0123456789"

[[accounts]]
name = "zerodha"
api_key = "one"
access_token = "one"
max_symbols_per_websocket = 2
max_websocket_connections = 1

[[accounts]]
name = "desk2"
broker = "zerodha"
api_key = "two"
access_token = "two"
exchanges = ["NSE"]
max_symbols_per_websocket = 3
max_websocket_connections = 1
"""


def test_plan_without_a_gateway_counts_the_accounts_of_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(CONFIG)
    plan.plan(["NSE:A", "NSE:B", "NSE:C", "NSE:D"], empty=True, config=config)
    told = capsys.readouterr().out
    assert told.startswith("As if the accounts were empty: nobody was asked.\n")
    assert rows(told) == [["zerodha", "zerodha-1", "2", "0"], ["desk2", "desk2-1", "2", "1"]]
    assert told.splitlines()[-1] == (
        "4 of 4 symbols fit in mode Quote; the accounts have room for 1 more: zerodha 0, desk2 1."
    )
    with pytest.raises(SystemExit):
        plan.plan(["NSE:A", "NSE:B", "BSE:C"], empty=True, config=config)
    assert "1 would be refused: BSE:C" in capsys.readouterr().err


def test_plan_counts_what_each_account_of_the_running_gateway_has_placed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def main() -> None:
        async with shown(12, exchanges=("NSE",)) as (two, _, _get):
            new = [f"NSE:{name}" for name in names(two)[10:14]]
            with pytest.raises(SystemExit, match="1"):
                await asyncio.to_thread(plan.plan, [*new, "BSE:NEW"], url=two.served_by.http_url)

    asyncio.run(main())
    said = capsys.readouterr()
    assert "Beside the 12 symbols that the running gateway" in said.out
    assert rows(said.out) == [
        ["zerodha", "zerodha-1", "5", "0"],
        ["zerodha", "zerodha-2", "5", "0"],
        ["desk2", "desk2-1", "4", "1"],
    ]
    assert (
        "4 of 5 symbols fit in mode Quote; the accounts have room for 6 more: zerodha 0, desk2 6." in said.out
    )
    assert "1 would be refused: BSE:NEW" in said.err


def test_a_text_that_is_no_symbol_is_refused_before_anything_is_planned() -> None:
    with pytest.raises(typer.BadParameter):
        plan.plan(["INFY"], empty=True)


def test_a_picture_of_the_moment_takes_less_than_4_ms_while_3000_symbols_are_away_from_home() -> None:
    async def main() -> None:
        async with (
            two_accounts({"symbols": 3000, "rate": 0}, symbols=1000, connections=3) as two,
            client(two.served_by) as session,
        ):
            rows = [
                {"symbol": row.tradingsymbol, "exchange": row.exchange} for row in two.brokers[0].listings
            ]
            await session.ask(action="subscribe", symbols=rows, mode=1)
            await until(lambda: two.router.symbols_unserved == 0, seconds=20)
            await two.refuse_login(0)
            await until(lambda: two.router.accounts()[0].symbols_away == 3000, seconds=20)
            await until(lambda: two.router.symbols_unserved == 0, seconds=20)
            sources = two.served_by._broadcast._sources
            gc.collect()
            times = []
            for _ in range(40):
                with work() as picture:
                    told = snapshot(sources, since=0.0, entries=())
                times.append(picture.seconds)
            assert len(told["guests"]) == SYMBOLS_NAMED, "the list is bounded"
            print(f"a picture takes {min(times) * 1000:.1f} ms, {max(times) * 1000:.1f} ms at most")
            assert min(times) < 0.004

    asyncio.run(main())
