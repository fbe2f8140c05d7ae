"""A gateway's database is copied while it runs, by the page's own program, and serves on another host."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

from cryptography.fernet import Fernet
from websockets.asyncio.client import connect

from tests import processes
from tests.gateway_client import Client
from tests.processes import Running
from tests.rehearsal import until

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "production.md").read_text("utf-8")


def copied(source: Path, copy: Path) -> None:
    """Copy as the page says."""
    section = PAGE.partition("\n## Back up and restore\n")[2]
    found = re.search(r"python -c '\n(.*?)' ", section, re.DOTALL)
    assert found is not None
    subprocess.run([sys.executable, "-c", found[1], str(source), str(copy)], check=True, timeout=30)


def _demand(file: Path) -> int:
    connection = sqlite3.connect(file)
    try:
        return int(connection.execute("SELECT count(*) FROM brokerpool_saved_demand").fetchone()[0])
    finally:
        connection.close()


async def authenticated(gateway: Running, key: str) -> str:
    async with connect(gateway.said["ws_url"], proxy=None) as connection:
        reply = await Client(connection).ask(action="authenticate", api_key=key)
        return str(reply["status"])


def test_a_copy_of_a_running_gateways_database_serves_keys_login_and_demand_on_another_host(
    tmp_path: Path,
) -> None:
    secret = Fernet.generate_key().decode()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with processes.simulator(tmp_path, symbols=20, rate=50) as broker:
        env = tmp_path / "sim.env"
        kept = [line for line in env.read_text().splitlines() if "ACCESS_TOKEN" not in line]
        env.write_text("\n".join([*kept, f"BROKERPOOL_SECRET_KEY={secret}", ""]))
        (tmp_path / "token").write_text(broker.said["access_token"])

        def brokerpool(*arguments: str, at: Path) -> str:
            ran = subprocess.run(
                [sys.executable, "-m", "brokerpool", *arguments, "--env-file", str(env)],
                env={**os.environ, "DATABASE_URL": f"sqlite:///{at}/brokerpool.db"},
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            return ran.stdout.strip()

        key = brokerpool("keys", "create", "strategy", at=first)
        brokerpool("login", "--file", str(tmp_path / "token"), at=first)

        async def holds(gateway: Running) -> None:
            async with connect(gateway.said["ws_url"], proxy=None) as connection:
                session = Client(connection)
                await session.ask(action="authenticate", api_key=key)
                await session.subscribe("INFY")
                await session.take(2)
                await until(lambda: _demand(first / "brokerpool.db"), seconds=20)
                await asyncio.to_thread(copied, first / "brokerpool.db", second / "brokerpool.db")

        with processes.gateway(tmp_path, DATABASE_URL=f"sqlite:///{first}/brokerpool.db") as gateway:
            asyncio.run(holds(gateway))
        assert "answers" in brokerpool("db", "check", at=second)
        with processes.gateway(tmp_path, DATABASE_URL=f"sqlite:///{second}/brokerpool.db") as gateway:
            assert asyncio.run(authenticated(gateway, key)) == "success"
            url = gateway.said["http_url"]

            async def restored() -> None:
                await until(
                    lambda: processes.get(f"{url}/stats")["websocket"]["total_symbols"] == 1, seconds=20
                )

            asyncio.run(restored())
