"""Two accounts as one capacity, judged at a client's socket and by the ledgers of both brokers."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from brokerpool.simulator.fault_switches import FaultOrder
from tests import processes
from tests.one_exchange import (
    FILE,
    GRACE,
    accounts,
    api_key,
    in_order,
    seen_after,
    serving,
    trader,
    twins,
    without_a_hole,
)
from tests.rehearsal import until

#: `make accounts` has 20,000, on accounts of full size.
RATE = int(os.environ.get("BROKERPOOL_TEST_ACCOUNT_TICKS", "2000"))
EACH = RATE // 20
MEASURED = "BROKERPOOL_TEST_ACCOUNT_TICKS" in os.environ
#: Beside other tests a wait may take longer.
LATE = 0.0 if MEASURED else 6.0
#: More than one trade late, an account is waited for in vain: that takes ten seconds more.
LAG = 1.5 if MEASURED else 0.5


async def all_home(gateway: processes.Running) -> None:
    """Return when the first account carries all of its own symbols."""
    async with asyncio.timeout(60):
        while (await accounts(gateway))[0]["symbols_away"]:  # noqa: ASYNC110  (it is another process's state)
            await asyncio.sleep(0.1)


async def quoted(gateway: processes.Running, key: str, symbol: str) -> Any:
    """Return what REST answers to a question for a quote."""
    body = json.dumps({"apikey": key, "exchange": "NSE", "symbol": symbol}).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{gateway.said['http_url']}/api/v1/quotes", body, headers)

    def ask() -> Any:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)

    return await asyncio.to_thread(ask)


@pytest.mark.parametrize("second", ["zerodha", "openalgo"])
def test_5000_symbols_fill_3000_and_2000_and_who_wants_one_more_is_told_the_numbers_of_both(
    tmp_path: Path, second: str
) -> None:
    async def main() -> None:
        async with (
            twins(tmp_path, second, each=1000, symbols=5600, rate=1000) as pair,
            serving(tmp_path) as gateway,
            trader(gateway.said["ws_url"], api_key(tmp_path)) as client,
        ):
            wanted = pair.symbols[:5001]
            for start in range(0, 5000, 2500):
                reply = await client.subscribe(wanted[start : start + 2500])
                assert reply["status"] == "success"
            first, guest = await accounts(gateway)
            assert (first["symbols"], first["capacity"]) == (3000, 3000)
            assert (guest["symbols"], guest["capacity"]) == (2000, 2000)
            reply = await client.subscribe(wanted[5000:])
            (refused,) = reply["subscriptions"]
            assert (refused["status"], refused["code"]) == ("error", "MAX_CAPACITY_REACHED")
            for told in (f"{first['name']}: 3000 of 3000", f"{guest['name']}: 2000 of 2000"):
                assert told in refused["message"], refused

            def served(account: int) -> list[int]:
                return [len(socket["tokens"]) for socket in pair.brokers[account].sockets()]

            await until(lambda: sum(served(0)) == 3000 and sum(served(1)) == 2000, seconds=30)
            assert served(0) == [1000] * 3
            assert served(1) == [pair.shapes[1].symbols_each] * pair.shapes[1].connections
            for account in (0, 1):
                pair.keeps_its_limits(account)

    asyncio.run(main())


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("second", "lag"), [("zerodha", LAG), ("openalgo", 0.0)], ids=["zerodha-first-lags", "openalgo-in-step"]
)
def test_symbols_of_an_account_whose_token_dies_tick_from_the_other_by_priority_and_go_home_without_a_gap(
    tmp_path: Path, second: str, lag: float
) -> None:
    """Once it is back the first broker is late by `lag` trades of each symbol."""

    async def main() -> None:
        async with (
            twins(tmp_path, second, each=EACH, symbols=5 * EACH + 30, rate=RATE) as pair,
            serving(tmp_path) as gateway,
            trader(gateway.said["ws_url"], api_key(tmp_path)) as client,
        ):
            home, other = pair.symbols[: 3 * EACH], pair.symbols[3 * EACH : 3 * EACH + EACH // 2]
            # The second account has room for half of the first one's symbols.
            dear, cheap = home[::2], home[1::2]
            await client.subscribe(cheap)
            await client.subscribe(dear, priority=5)
            await client.subscribe(other)
            await until(lambda: seen_after(client, home + other, 0.0), seconds=30)
            first, guest = await accounts(gateway)
            assert (first["symbols"], guest["symbols"]) == (len(home), len(other))

            started, traded = time.monotonic(), pair.brokers[1].market.ticks
            await pair.brokers[0].throw(FaultOrder.parse(b'{"expire_token": {"close_sockets": true}}'))
            died = time.monotonic()
            await until(lambda: not pair.brokers[0].sockets())
            await until(lambda: seen_after(client, dear, died + GRACE / 2), seconds=GRACE + 3 + LATE)
            took = [next(s.at for s in client.seen[i] if s.at > died + GRACE / 2) - died for i in dear]
            print(f"{len(dear)} symbols tick from {second} {min(took):.2f} to {max(took):.2f} s later")
            assert max(took) < GRACE + 3 + LATE
            away = time.monotonic()
            first, guest = await accounts(gateway)
            assert (first["symbols_home"], first["symbols_away"]) == (len(home), len(dear))
            assert guest["symbols"] == guest["capacity"] == 2 * EACH, "all the room that there is"
            assert first["symbols_down"] == len(cheap)
            await until(lambda: seen_after(client, dear, away + pair.round_seconds), seconds=10 + LATE)
            assert not any(client.seen[symbol][-1].at > away + pair.round_seconds for symbol in cheap)
            before = pair.brokers[1].stats()["http_requests"]
            assert (await quoted(gateway, api_key(tmp_path), cheap[0]))["status"] == "success"
            assert pair.brokers[1].stats()["http_requests"] != before, "asked of the second"

            pair.lag = int(lag * len(pair.brokers[0].listings))
            await pair.brokers[0].throw(FaultOrder.parse(b'{"access_token": "tomorrows-token"}'))
            renew(tmp_path)
            back = time.monotonic()
            await all_home(gateway)
            print(f"home again {time.monotonic() - back:.1f} s after the new token")
            await until(lambda: seen_after(client, home + other, time.monotonic() - 1), seconds=20)
            at_home = time.monotonic()
            rate = (pair.brokers[1].market.ticks - traded) / (at_home - started)
            print(f"meanwhile there were {rate:,.0f} trades a second")
            await until(lambda: seen_after(client, home + other, at_home), seconds=20)
            first, guest = await accounts(gateway)
            assert (first["symbols"], guest["symbols"]) == (len(home), len(other))
            in_order(client)
            for symbol in dear:
                without_a_hole(client, pair, symbol, away)
            for symbol in other:
                without_a_hole(client, pair, symbol, started)
            gaps = Counter(frame["symbol"] for frame in client.symbol_news("gap"))
            assert [gaps[symbol] for symbol in dear] == [1] * len(dear), "on their way there, and none back"
            assert not set(home) - set(gaps)
            assert not set(other) & set(gaps)
            for account in (0, 1):
                pair.keeps_its_limits(account)

    asyncio.run(main())


def renew(folder: Path) -> None:
    """Write the first account's new token into the settings, as somebody does who has logged in."""
    lines = (folder / FILE).read_text().splitlines(keepends=True)
    old = next(number for number, line in enumerate(lines) if line.startswith("access_token"))
    lines[old] = 'access_token = "tomorrows-token"\n'
    (folder / "new.toml").write_text("".join(lines))
    (folder / "new.toml").replace(folder / FILE)
