"""Two mornings with processes of their own: login page, login, ticks, a dead token, the next login, ticks."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests import preloaded, processes
from tests.faults.observer import observing
from tests.rehearsal import until

SECRET_KEY = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def press_the_button(page: str) -> str:
    """Log in as a browser does, and return the page to which that leads."""
    with urllib.request.urlopen(urllib.request.Request(page, method="POST"), timeout=5) as answer:
        return str(answer.read().decode())


def log_in(folder: Path, port: int, page: str) -> str:
    """Run `brokerpool login --listen` beside a browser, and return what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BROKERPOOL_")}
    with preloaded.Popen(
        [sys.executable, "-m", "brokerpool", "login", "--listen", str(port), "--env-file", "morning.env"],
        cwd=folder,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            said = process.stderr.readline()
            assert page in said
            assert f"http://127.0.0.1:{port}/" in process.stderr.readline()
            # A page that the trader looks at could bring the token of somebody else's login.
            for stranger in ("favicon.ico", "?status=cancelled", "?request_token=theirs&state=guessed"):
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/{stranger}", timeout=5)
                assert refused.value.code == 404
                refused.value.close()
            elsewhere = urllib.request.Request(f"http://127.0.0.1:{port}/?request_token=theirs")
            elsewhere.add_header("Host", "attacker.example")
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(elsewhere, timeout=5)
            assert refused.value.code == 403
            refused.value.close()
            assert "The login has arrived" in press_the_button(said.split()[-1])
            out, err = process.communicate(timeout=20)
        finally:
            if process.poll() is None:
                process.kill()
    assert process.returncode == 0, err
    return out


LOGGED_IN = "logged in as SIM001 (Simulated Account), until "


def test_from_nothing_through_two_mornings_to_ticks_without_a_restart(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "serve.log"
    began = time.monotonic()
    marks: list[str] = []

    def mark(what: str) -> None:
        marks.append(f"{time.monotonic() - began:6.1f} s  {what}")

    options = {"symbols": 20, "rate": 200, "redirect-url": f"http://127.0.0.1:{port}/"}
    with processes.simulator(tmp_path, **options) as broker:
        mark("the simulated broker listens")
        page, control = broker.said["login_url"], broker.said["control_url"]
        given = (tmp_path / "sim.env").read_text().splitlines(keepends=True)
        kept = [line for line in given if not line.startswith("BROKERPOOL_BROKER_ACCESS_TOKEN")]
        (tmp_path / "morning.env").write_text("".join(kept) + f"BROKERPOOL_SECRET_KEY={SECRET_KEY}\n")
        key, rows = processes.api_key(tmp_path), [*processes.listed(broker).values()]

        first = log_in(tmp_path, port, page)
        assert first.startswith("Login 1 of zerodha is stored: SIM001 (Simulated Account), until ")
        mark("logged in, the login is stored")
        ports = {"WEBSOCKET_PORT": "0", "BROKERPOOL_HTTP_PORT": "0"}
        serving = processes.command("serve", "--env-file", "morning.env", folder=tmp_path, **ports)
        with serving as gateway:
            mark("the gateway listens")

            async def main() -> None:
                async with observing(gateway.said["ws_url"], key, [rows]) as (client,):
                    await until(lambda: len(client.last) == len(rows), seconds=20)
                    mark("every symbol has ticked at the strategy")
                    expire = {"expire_token": {"close_sockets": True}}
                    await asyncio.to_thread(processes.post, f"{control}/faults", expire)
                    stats = f"{gateway.said['http_url']}/stats"
                    states: set[str] = set()
                    while states != {"parked"}:
                        answer = await asyncio.to_thread(processes.get, stats)
                        states = {c["state"] for c in answer["websocket"]["per_connection"]}
                    mark("next morning: the token is dead, the gateway waits")
                    client.reset()
                    again = await asyncio.to_thread(log_in, tmp_path, port, page)
                    assert again.startswith("Login 2 of zerodha is stored: SIM001")
                    mark("logged in again")
                    await until(lambda: client.ticks > len(rows), seconds=20)
                    mark("ticks again, nobody restarted anything")
                    # Whose the new login is comes in a call of its own, which the ticks do not wait for.
                    await until(lambda: log.read_text().count(LOGGED_IN) == 2)
                    assert not client.ended

            asyncio.run(main())
    print("\n".join(marks))
    assert log.read_text().count(LOGGED_IN) == 2
    for secret in (broker.said["api_secret"], broker.said["access_token"], SECRET_KEY):
        assert secret not in log.read_text()


def test_serve_with_a_dead_token_names_the_setting_once_and_takes_over_the_login_that_follows(
    tmp_path: Path,
) -> None:
    with processes.simulator(tmp_path, symbols=5, rate=50) as broker:
        env = tmp_path / "sim.env"
        text = env.read_text().replace(broker.said["access_token"], "yesterdays-token")
        env.write_text(f"{text}BROKERPOOL_SECRET_KEY={SECRET_KEY}\n")
        rows = [*processes.listed(broker).values()]
        with processes.gateway(tmp_path) as gateway:
            log = tmp_path / "serve.log"

            async def main() -> None:
                key = processes.api_key(tmp_path)
                async with observing(gateway.said["ws_url"], key, [rows]) as (client,):
                    said = log.read_text()
                    assert said.count("BROKERPOOL_BROKER_ACCESS_TOKEN: run `brokerpool login`") == 1
                    (tmp_path / "token").write_text(broker.said["access_token"])
                    clean = {n: v for n, v in os.environ.items() if not n.startswith("BROKERPOOL_")}
                    words = ["login", "--file", "token", "--env-file", str(env)]
                    done = await asyncio.to_thread(
                        lambda: preloaded.run(
                            [sys.executable, "-m", "brokerpool", *words],
                            cwd=tmp_path,
                            env=clean,
                            capture_output=True,
                            text=True,
                            timeout=30,
                            check=False,
                        )
                    )
                    assert done.returncode == 0, done.stderr
                    assert "BROKERPOOL_BROKER_ACCESS_TOKEN is set as well" in done.stderr
                    await until(lambda: len(client.last) == len(rows), seconds=20)

            asyncio.run(main())
        dials = processes.get(f"{broker.said['control_url']}/stats")["refusals"]
        assert not dials.get("403"), "no dial with a token that the broker has refused"
        assert "yesterdays-token" not in log.read_text()
