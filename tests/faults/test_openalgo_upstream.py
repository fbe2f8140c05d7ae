"""A gateway in front of OpenAlgo: a hundred clients cost it one connection, and hear of its faults."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests import preloaded, processes
from tests.faults.observer import Observer, observing
from tests.rehearsal import until

CLIENTS, SYMBOLS, EACH, RATE = 100, 40, 5, 200


@asynccontextmanager
async def overlapping(
    count: int, ws_url: str, key: str, rows: list[dict[str, str]]
) -> AsyncIterator[list[Observer]]:
    """Connect them, half in Quote and half in LTP mode, each to symbols that others hold too."""
    draw = Random(15)
    wanted = [draw.sample(rows, EACH) for _ in range(count)]
    async with (
        observing(ws_url, key, wanted[: count // 2], mode=2) as quotes,
        observing(ws_url, key, wanted[count // 2 :], mode=1) as prices,
    ):
        clients = quotes + prices
        for client, mine in zip(clients, wanted, strict=True):
            client.last = {row["symbol"]: 0.0 for row in mine}
        await ticking(clients)
        yield clients


async def ticking(clients: list[Observer]) -> None:
    """Return when every symbol of every client has ticked after now."""
    since = time.monotonic()
    await until(lambda: all(at > since for client in clients for at in client.last.values()), seconds=30)


async def got(url: str) -> Any:
    return await asyncio.to_thread(processes.get, url)


async def throw(control: str, **switches: object) -> None:
    await asyncio.to_thread(processes.post, f"{control}/faults", switches)


def test_a_hundred_clients_are_one_connection_there_with_each_symbol_once_and_survive_its_restart(
    tmp_path: Path,
) -> None:
    with (
        processes.simulator(tmp_path, broker="openalgo", symbols=SYMBOLS, rate=RATE) as server,
        processes.gateway(tmp_path) as gateway,
    ):
        control, ws_url = server.said["control_url"], gateway.said["ws_url"]
        rows = [{"symbol": symbol, "exchange": "NSE"} for symbol in nse_symbols(server)]

        async def main() -> None:
            async with overlapping(CLIENTS, ws_url, processes.api_key(tmp_path), rows) as clients:
                held = {symbol for client in clients for symbol in client.last}
                quoted = {symbol for client in clients[: CLIENTS // 2] for symbol in client.last}
                assert sum(len(client.last) for client in clients) == CLIENTS * EACH > 10 * len(held)

                async def each_once() -> list[str]:
                    """Return the modes that OpenAlgo serves, once all that rose on the way has settled."""
                    async with asyncio.timeout(10):
                        while True:
                            (socket,) = await got(f"{control}/sockets")
                            modes = [*socket["tokens"].values()]
                            if len(modes) == len(held) and not any("+" in mode for mode in modes):
                                return modes

                modes = await each_once()
                assert modes.count("Quote") == len(quoted), "each in the highest mode that anybody wants"
                before = await got(f"{control}/stats")
                assert before["dials"] == before["peak_sockets"] == 1
                assert before["control_messages"] < CLIENTS, "far fewer than there were subscribes"

                await throw(control, down=True)
                await until(lambda: all(len(c.symbol_news("stale")) == EACH for c in clients))
                await throw(control, down=False)
                await ticking(clients)
                for client in clients:
                    assert not client.ended, "nobody has lost its connection"
                    gaps = client.symbol_news("gap")
                    assert sorted(gap["symbol"] for gap in gaps) == sorted(client.last), "one gap for each"
                    assert all(gap["from"] < gap["to"] for gap in gaps)
                modes = await each_once()
                assert modes.count("Quote") == len(quoted), "restored as it was"
                after = await got(f"{control}/stats")
                assert after["peak_sockets"] == 1
                assert after["peak_duplicate_tokens"] == 0

        asyncio.run(main())


def test_a_key_that_openalgo_refuses_parks_without_a_further_dial_until_the_file_has_the_new_one(
    tmp_path: Path,
) -> None:
    with (
        processes.simulator(tmp_path, broker="openalgo", symbols=SYMBOLS, rate=RATE) as server,
        processes.gateway(tmp_path) as gateway,
    ):
        control, http = server.said["control_url"], gateway.said["http_url"]
        key = processes.api_key(tmp_path)
        rows = [{"symbol": symbol, "exchange": "NSE"} for symbol in nse_symbols(server)]

        async def main() -> None:
            async with overlapping(10, gateway.said["ws_url"], key, rows) as clients:
                # The user makes a new key in OpenAlgo, which then ends the socket of the old one.
                await throw(control, access_token="the-key-made-anew")
                (socket,) = await got(f"{control}/sockets")
                await asyncio.to_thread(processes.post, f"{control}/sockets/{socket['id']}/kill")
                await parked(http)
                dials = (await got(f"{control}/stats"))["dials"]
                # It answers its clients: a new one is let in, and gets last values, marked as stale.
                held = [row for row in rows if row["symbol"] in clients[0].last]
                async with observing(gateway.said["ws_url"], key, [held]) as (late,):
                    await until(lambda: late.news and len(late.symbol_news("stale")) == EACH)
                    assert late.news[0]["status"] == "success"
                    assert all(snapshot["stale"] for snapshot in late.snapshots)
                replace_key(tmp_path, server.said["api_key"], "the-key-made-anew")
                await ticking(clients)
                # The file is looked at once a second: with the usual back-off there were a dial meanwhile.
                assert (await got(f"{control}/stats"))["dials"] == dials + 1, "parked is parked"
                assert not any(client.ended for client in clients)
                assert all(len(client.symbol_news("gap")) == EACH for client in clients)

        asyncio.run(main())
        log = (tmp_path / "serve.log").read_text()
        assert "the-key-made-anew" not in log
        assert server.said["api_key"] not in log


def test_a_key_that_is_wrong_from_the_start_lets_clients_in_and_dials_once_there_is_a_right_one(
    tmp_path: Path,
) -> None:
    with processes.simulator(tmp_path, broker="openalgo", symbols=SYMBOLS, rate=RATE) as server:
        replace_key(tmp_path, server.said["api_key"], "a-key-of-nobody")
        checked = check(tmp_path)
        assert checked.returncode == 2
        assert "put the key that it has now into broker" in checked.stderr.lower(), (
            "and of no login each night"
        )
        with processes.gateway(tmp_path) as gateway:
            control = server.said["control_url"]
            rows = [{"symbol": symbol, "exchange": "NSE"} for symbol in nse_symbols(server)[:EACH]]

            async def main() -> None:
                key = processes.api_key(tmp_path)
                async with observing(gateway.said["ws_url"], key, [rows]) as (client,):
                    await until(lambda: len(client.news) >= 2)
                    assert [reply["type"] for reply in client.news[:2]] == ["auth", "subscribe"]
                    assert client.news[0]["status"] == "success"
                    assert (await got(f"{control}/stats"))["dials"] == 0
                    replace_key(tmp_path, "a-key-of-nobody", server.said["api_key"])
                    # Without a list any well-formed name is taken, and OpenAlgo will decide.
                    assert {item["status"] for item in client.news[1]["subscriptions"]} == {"success"}
                    await until(lambda: len(client.last) == EACH, seconds=20)
                    assert (await got(f"{control}/stats"))["dials"] == 1

            asyncio.run(main())


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `brokerpool check` on the settings of the folder."""
    ports = {"WEBSOCKET_PORT": "0", "BROKERPOOL_HTTP_PORT": "0"}
    words = ["check", "--env-file", str(folder / "sim.env")]
    return preloaded.run(
        [sys.executable, "-m", "brokerpool", *words],
        cwd=folder,
        env=processes.without_settings(os.environ) | ports,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def parked(http: str) -> None:
    """Return when the gateway has given its only connection up until there is another key."""
    async with asyncio.timeout(15):
        while True:
            stats = await got(f"{http}/stats")
            if [each["state"] for each in stats["websocket"]["per_connection"]] == ["parked"]:
                return


def replace_key(folder: Path, old: str, new: str) -> None:
    """Write another key into the gateway's settings."""
    env = folder / "sim.env"
    env.write_text(
        env.read_text().replace(f"BROKERPOOL_BROKER_API_KEY={old}", f"BROKERPOOL_BROKER_API_KEY={new}")
    )


def nse_symbols(server: processes.Running) -> list[str]:
    """Return what the simulated OpenAlgo lists at NSE."""
    url = f"{server.said['http_url']}/api/v1/instruments?apikey={server.said['api_key']}&exchange=NSE"
    return [row["symbol"] for row in processes.get(url)["data"]]
