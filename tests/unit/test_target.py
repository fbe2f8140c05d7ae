"""Promises of the commands that ask a gateway: which one, with which key, and one line however it fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from brokerpool import cli
from brokerpool.commands import gateway_request
from brokerpool.commands.gateway_target import Target, save, saved_file, target
from brokerpool.settings import NAMES
from tests.gateway_client import client, gateway
from tests.http_server import Authority

Talk = Callable[[socket.socket], None]
SECRET = "bp_its'a\\key"
COMMANDS = (["stats"], ["top"], ["explain", "NSE:INFY"])


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["brokerpool", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return run


@contextlib.contextmanager
def talking(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run something that listens and talks to one caller, in a thread, and give its host and port."""

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as plain:
            plain.settimeout(10)
            with tls.wrap_socket(plain, server_side=True) if tls else plain as caller:
                talk(caller)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # for one that nobody has called
            thread.join(20)


def says(text: bytes, status: str = "200 OK") -> Talk:
    def talk(caller: socket.socket) -> None:
        caller.recv(65536)
        caller.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)

    return talk


def no_http(caller: socket.socket) -> None:
    caller.sendall(b"220 mail.example ESMTP\r\n")
    caller.recv(65536)


def hangs_up(caller: socket.socket) -> None:
    caller.recv(65536)


def drips(caller: socket.socket) -> None:
    caller.recv(65536)
    caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):  # until the caller has gone
        caller.sendall(b" ")
        time.sleep(0.02)


def breaks_off(caller: socket.socket) -> None:
    caller.recv(65536)
    caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("talk", "told"),
    [
        (no_http, "does not speak HTTP"),
        (hangs_up, "closed the connection"),
        (breaks_off, "no JSON"),
        (drips, "no whole answer within"),
        (says(b"<html>"), "no JSON"),
        (says(b"[1]"), "JSON of something else"),
        (says(b'{"version": 3}'), "JSON of something else"),
        (says(b"no such page", "404 Not Found"), "answered HTTP 404, and not as a gateway does"),
        (says(b'{"message": "KEY: The API key\\n is wrong."}', "401 No"), "KEY: The API key is wrong."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whatever_answers_at_the_address_there_is_one_line_and_1(
    command: list[str], talk: Talk, told: str, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_request, "_HTTP_SECONDS", 0.5)
    with talking(talk) as address:
        ran = run(*command, "--url", f"http://{address}")
    assert (ran.code, ran.out) == (1, "")
    assert told in ran.err
    assert address in ran.err
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("brokerpool: ")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_certificate_that_is_not_trusted_and_plain_text_where_tls_is_asked_for_are_one_line(
    command: list[str], run: Callable[..., Ran]
) -> None:
    with talking(hangs_up, Authority().server()) as address:
        ran = run(*command, "--url", f"https://{address}")
        assert "its certificate is not trusted" in ran.err
        assert "BROKERPOOL_GATEWAY_CA" in ran.err
        assert (ran.code, ran.err.count("\n")) == (1, 1)
    with talking(no_http) as address:
        ran = run(*command, "--url", f"https://{address}")
        assert "TLS failed" in ran.err
        assert (ran.code, ran.err.count("\n")) == (1, 1)


def test_a_gateway_behind_tls_is_asked_with_the_authority_of_the_settings(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem())
    monkeypatch.setenv("BROKERPOOL_GATEWAY_CA", str(tmp_path / "ca.pem"))
    told = {"instrument": "NSE:INFY", "state": "not wanted", "why": "Nobody wants it.", "owners": []}
    with talking(says(json.dumps(told).encode()), authority.server()) as address:
        ran = run("explain", "NSE:INFY", "--url", f"https://{address}")
    assert (ran.code, ran.err) == (0, "")


# -- which gateway, and with which key --------------------------------------------------------------------


def test_what_was_kept_is_used_by_the_next_command_and_is_for_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    file = save(Target("https://gw.example:5000", SECRET, "ca.pem"))
    assert file == saved_file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert target(None) == Target("https://gw.example:5000", SECRET, str(tmp_path / "ca.pem"))
    assert SECRET not in repr(target(None))
    save(Target("http://127.0.0.1:6000"))
    assert target(None) == Target("http://127.0.0.1:6000")


def test_an_option_wins_over_the_environment_which_wins_over_what_was_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert target(None).url == "http://127.0.0.1:5000"
    monkeypatch.setenv("BROKERPOOL_HTTP_PORT", "5010")
    assert target(None).url == "http://127.0.0.1:5010"
    save(Target("http://kept.example", SECRET))
    assert target(None).url == "http://kept.example"
    monkeypatch.setenv("BROKERPOOL_GATEWAY_URL", "http://set.example/")
    assert target(None).url == "http://set.example"
    assert target("http://given.example").url == "http://given.example"


def test_a_key_that_is_for_one_gateway_is_not_shown_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    save(Target("http://kept.example", SECRET))
    assert target("http://other.example").key == ""
    assert target("http://kept.example/").key == SECRET
    monkeypatch.setenv("BROKERPOOL_GATEWAY_URL", "http://set.example")
    assert target(None).key == "", "nor that of the kept one to the one that is set"


def test_a_key_is_never_an_argument(run: Callable[..., Ran]) -> None:
    for command in ("stats", "top", "explain", "plan"):
        assert "--key" not in run(command, "--help").out


# -- plan -------------------------------------------------------------------------------------------------


def test_plan_counts_what_the_running_gateway_has_placed_and_not_twice_what_it_has_already(
    run: Callable[..., Ran],
) -> None:
    limits = {"MAX_SYMBOLS_PER_WEBSOCKET": "2", "MAX_WEBSOCKET_CONNECTIONS": "2"}

    async def main() -> tuple[Ran, Ran, Ran]:
        async with gateway({}, **limits) as (_, served_by), client(served_by) as session:
            for symbol in ("INFY", "RELIANCE", "SBIN"):
                await session.subscribe(symbol)

            async def planned(*arguments: str) -> Ran:
                return await asyncio.to_thread(run, "plan", *arguments, "--url", served_by.http_url)

            return (
                await planned("NSE:INFY", "NSE:TCS"),
                await planned("NSE:TCS", "NSE:WIPRO"),
                await planned("NSE:TCS", "NSE:WIPRO", "--empty"),
            )

    fits, refused, alone = asyncio.run(main())
    assert fits.code == 0
    assert "Beside the 3 symbols that the running gateway at http://" in fits.out
    assert "2 of 2 symbols fit" in fits.out
    assert refused.code == 1
    assert "1 would be refused: NSE:WIPRO" in refused.err
    assert alone.code == 0
    assert "As if the pool were empty: nobody was asked." in alone.out


def test_plan_without_a_gateway_says_that_it_counts_an_empty_pool(run: Callable[..., Ran]) -> None:
    ran = run("plan", "NSE:INFY", "--url", "http://127.0.0.1:9")
    assert ran.code == 0
    assert ran.out.startswith("As if the pool were empty: no gateway answers at http://127.0.0.1:9.")
