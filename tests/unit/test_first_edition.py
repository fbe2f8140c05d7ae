"""Promises to who has run the first edition: the same five lines and the same database mean the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import text

from brokerpool.db.pool import DatabasePool
from brokerpool.store.upgrade import upgrade
from brokerpool.store.vault import Vault
from tests import processes
from tests.faults.observer import observing
from tests.rehearsal import until

SECRET_KEY = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="


async def database_of_the_first_edition(path: Path, token: str) -> None:
    """Make one as it left it, with a login and with what was wanted when it ended."""
    pool = DatabasePool(f"sqlite:///{path}")
    await upgrade(pool, "0002")
    sealed = Vault(SECRET_KEY).seal("login 3 of zerodha", json.dumps({"access_token": token}))
    kept = "INSERT INTO brokerpool_broker_credentials VALUES ('zerodha', 3, :key_id, :sealed, 2)"
    wanted = "INSERT INTO brokerpool_saved_demand VALUES ('zerodha', 'NSE', 'INFY', 2, 0)"
    async with pool.begin() as conn:
        await conn.execute(text(kept), {"key_id": sealed.key_id, "sealed": sealed.text})
        await conn.execute(text(wanted))
    await pool.drain()


@pytest.mark.parametrize("login", ["in the file", "in the database"])
def test_five_lines_are_one_account_called_as_its_broker_with_the_login_and_the_demand_that_are_stored(
    tmp_path: Path, login: str
) -> None:
    with processes.simulator(tmp_path, symbols=20, rate=200) as broker:
        said = broker.said
        lines = {
            "BROKERPOOL_API_KEY": "a-key-of-the-first-edition",
            "BROKERPOOL_BROKER_API_KEY": said["api_key"],
            "BROKERPOOL_BROKER_ACCESS_TOKEN": said["access_token"],
            "BROKERPOOL_BROKER_WS_URL": said["ws_url"],
            "BROKERPOOL_BROKER_HTTP_URL": said["http_url"],
        }
        if login == "in the database":
            del lines["BROKERPOOL_BROKER_ACCESS_TOKEN"]
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        asyncio.run(database_of_the_first_edition(tmp_path / "brokerpool.db", said["access_token"]))
        environ = {"WEBSOCKET_PORT": "0", "BROKERPOOL_HTTP_PORT": "0", "BROKERPOOL_SECRET_KEY": SECRET_KEY}
        with processes.command("serve", folder=tmp_path, **environ) as gateway:

            async def main() -> None:
                def carried() -> list[list[str]]:
                    sockets = processes.get(f"{said['control_url']}/sockets")
                    return [[*socket["tokens"].values()] for socket in sockets]

                # Nobody has connected: what was wanted is asked for again, in the mode that it had.
                await until(lambda: carried() == [["quote"]], seconds=20)
                row = {"symbol": "SBIN", "exchange": "NSE"}
                key = lines["BROKERPOOL_API_KEY"]
                async with observing(gateway.said["ws_url"], key, [[row]]) as (client,):
                    await until(lambda: client.last, seconds=20)
                    assert client.news[0]["broker"] == "zerodha"

            asyncio.run(main())
            stats = processes.get(f"{gateway.said['http_url']}/stats")
            (account,) = stats["websocket"]["accounts"]
            (connection,) = stats["websocket"]["per_connection"]
            assert (account["name"], account["broker"]) == ("zerodha", "zerodha")
            assert (connection["name"], connection["account"]) == ("zerodha-1", "zerodha")
            assert stats["http"]["name"] == "zerodha"
            assert "accounts" not in stats["http"]
            assert "accounts" not in stats["broker"]
