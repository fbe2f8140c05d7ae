"""Promises of top, explain and errors as users run them: on a terminal, on a dumb one, and in a pipe."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
from rich.console import Console

from brokerpool import cli
from brokerpool.commands.terminal_tables import statistics
from brokerpool.commands.top_table import ORDERS, ConnectionTable
from brokerpool.errors import ErrorCode
from tests import preloaded, processes
from tests.processes import Running

COMMAND = (sys.executable, "-m", "brokerpool")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("running")
    with processes.simulator(folder), processes.gateway(folder) as gateway:
        yield gateway


class Ran(NamedTuple):
    """How a command ended that ran in this process, its output a pipe."""

    returncode: int
    stdout: str
    stderr: str


def ran(*arguments: str) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["brokerpool", *arguments]),
        mock.patch.dict(os.environ, COLUMNS="200"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    code = ended.value.code
    return Ran(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.master = master
        self.shown = b""

    def until(self, text: str, times: int = 1) -> None:
        """Read until the text was shown so often."""
        deadline = time.monotonic() + 15
        while self.shown.count(text.encode()) < times:
            ready, _, _ = select.select([self.master], [], [], deadline - time.monotonic())
            assert ready, f"{text!r} was not shown {times} times in {self.shown.decode(errors='replace')}"
            try:
                self.shown += os.read(self.master, 65536)
            except OSError:
                assert self.shown.count(text.encode()) >= times, self.shown
                return

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())


@contextlib.contextmanager
def terminal(
    *arguments: str, kind: str = "xterm", popen: type[subprocess.Popen[Any]] = preloaded.Popen
) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    environ = {**os.environ, "TERM": kind, "COLUMNS": "160", "LINES": "40"}
    process = popen(
        [*COMMAND, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
    )
    try:
        yield Terminal(process, master)
        assert process.wait(10) == 0
        assert termios.tcgetattr(slave) == before, "the terminal is as it was"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(slave)
        os.close(master)


def test_top_redraws_sorts_by_c_and_quits_by_q(running: Running) -> None:
    address = running.said["http_url"]
    with terminal("top", "--url", address, "--interval", "0.3", popen=subprocess.Popen) as screen:
        screen.until("sorted by name", times=3)
        screen.press("c")
        screen.until("sorted by symbols")
        screen.press("c")
        screen.until("sorted by rate")
        assert b"connections carry" in screen.shown
        assert b"health: " in screen.shown
        screen.press("q")
        screen.until("\x1b[?1049l")  # back to the screen that was there before


def test_top_ends_with_0_on_ctrl_c(running: Running) -> None:
    with terminal("top", "--url", running.said["http_url"]) as screen:
        screen.until("sorted by name")
        screen.process.send_signal(signal.SIGINT)
        screen.until("\x1b[?1049l")
        assert b"Traceback" not in screen.shown


def test_top_prints_once_on_a_dumb_terminal(running: Running) -> None:
    with terminal("top", "--url", running.said["http_url"], kind="dumb") as screen:
        screen.until("health: ")
        assert b"\x1b[?1049h" not in screen.shown


def test_top_prints_once_into_a_pipe(running: Running) -> None:
    done = ran("top", "--url", running.said["http_url"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("health: ") == 1


@pytest.mark.parametrize("command", [["top"], ["explain", "NSE:INFY"]])
def test_without_a_gateway_there_is_one_line_and_1(command: list[str]) -> None:
    done = ran(*command, "--url", "http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("brokerpool: GATEWAY_UNREACHABLE: no gateway answers at http://127.0.0.1:9")
    assert done.stderr.count("\n") == 1


def test_explain_tells_a_symbol_that_nobody_wants_and_one_that_is_not_listed(running: Running) -> None:
    done = ran("explain", "NSE:INFY", "--url", running.said["http_url"])
    assert done.returncode == 0
    assert done.stdout == "NSE:INFY is not wanted. Nobody wants it; there is room for it.\n"
    told = json.loads(ran("explain", "NSE:INFY", "--url", running.said["http_url"], "--json").stdout)
    assert told["owners"] == []
    for name, code in (("NSE:NO PE", "SYMBOL_NOT_FOUND"), ("INFY", "INVALID_PARAMETERS")):
        done = ran("explain", name, "--url", running.said["http_url"])
        assert done.returncode == 1
        assert done.stderr.startswith(f"brokerpool: {code}: ")


def test_errors_lists_all_codes_and_explains_one() -> None:
    listed = ran("errors")
    assert listed.returncode == 0
    for code in ErrorCode:
        assert code.name in listed.stdout
    done = ran("errors", "breaker_open")
    entry = ErrorCode.BREAKER_OPEN
    assert done.stdout.splitlines() == [
        "BREAKER_OPEN",
        f"Cause: {entry.cause}",
        f"What brokerpool did: {entry.response}",
        f"What to do: {entry.action}",
    ]


def test_errors_suggests_a_code_for_one_that_is_none() -> None:
    done = ran("errors", "BREAKER_OPENED")
    assert done.returncode == 2
    assert "did you mean BREAKER_OPEN?" in done.stderr


def answers(*counts: tuple[str, int, float | None]) -> dict[str, Any]:
    """What /stats says of connections: name, ticks, age of the last tick."""
    return {
        "websocket": {
            "per_connection": [
                {
                    "name": name,
                    "state": "live",
                    "symbols": ticks % 7,
                    "ticks": ticks,
                    "last_tick_age_seconds": age,
                    "dials": 1,
                    "refusals": 0,
                    "last_fault": "",
                }
                for name, ticks, age in counts
            ]
        }
    }


def test_on_80_columns_no_name_number_or_fault_is_cut() -> None:
    stats = answers(("zerodha-10", 1_234_567, 1234.5))
    (connection,) = stats["websocket"]["per_connection"]
    connection |= {"state": "connecting", "symbols": 3000, "dials": 100, "refusals": 100}
    connection["last_fault"] = "the broker answered 403: the token is incorrect"
    pool = {"connections": 1, "max_connections": 3, "total_symbols": 3000, "capacity_used": 1.0}
    stats["websocket"] |= pool
    stats["gateway"] = dict.fromkeys(("frames_delivered", "frames_conflated", "clients", "slow_clients"), 0)
    narrow = Console(width=80, file=io.StringIO())
    narrow.print(statistics(stats))
    assert isinstance(narrow.file, io.StringIO)
    printed = narrow.file.getvalue()
    for whole in (
        "zerodha-10",
        "connecting",
        "1234567",
        "1234.5 s ago",
        "zerodha-10, last fault: the broker",
    ):
        assert whole in printed
    assert "…" not in printed


def test_rates_come_from_two_looks_and_survive_a_restart_of_the_gateway() -> None:
    ranking = ConnectionTable()
    ranking.take(answers(("a-1", 100, 1.0)), 10.0)
    assert ranking.rows()[0].rate == 0
    ranking.take(answers(("a-1", 150, 1.0)), 12.0)
    assert ranking.rows()[0].rate == 25
    ranking.take(answers(("a-1", 10, 1.0)), 13.0)
    assert ranking.rows()[0].rate == 0


def test_each_order_puts_what_matters_on_top_and_c_comes_round() -> None:
    ranking = ConnectionTable()
    ranking.take(answers(("a-1", 0, 9.0), ("a-2", 0, None), ("a-10", 0, 1.0)), 0.0)
    ranking.take(answers(("a-1", 10, 9.0), ("a-2", 30, None), ("a-10", 20, 1.0)), 1.0)
    seen = {}
    for _ in ORDERS:
        seen[ranking.order] = [row.name for row in ranking.rows()]
        ranking.turn()
    assert ranking.order == "name"
    assert seen["name"] == ["a-1", "a-2", "a-10"]
    assert seen["age"] == ["a-2", "a-1", "a-10"], "one that never ticked is the oldest"
    assert seen["rate"] == ["a-2", "a-10", "a-1"]


def test_the_page_of_commands_tells_each_order() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
    section = page.read_text("utf-8").partition("\n## top\n")[2].partition("\n## ")[0]
    for order in ORDERS:
        assert order in section
