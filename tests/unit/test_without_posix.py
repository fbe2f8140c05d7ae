"""What runs on Windows as far as that can be rehearsed elsewhere: without what only POSIX systems have."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from brokerpool import process_signals as signals
from brokerpool.commands.login import _read
from brokerpool.commands.options import run
from brokerpool.market_calendar import MarketHours
from brokerpool.settings import DatabaseSettings, Settings
from brokerpool.settings.hours_setting import with_holiday_file
from brokerpool.sync.loop import LoopThread
from tests.rehearsal import until

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
KEY = "rehearsal-key-0123456789"


def bare(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a program without POSIX, whose terminal has the code page 1252."""
    clean = {
        n: v for n, v in os.environ.items() if not n.startswith(("BROKERPOOL_", "WEBSOCKET_", "DATABASE"))
    }
    path = os.pathsep.join([str(ROOT / "tests" / "without_posix"), str(ROOT)])
    return {**clean, "PYTHONPATH": path, "PYTHONIOENCODING": "cp1252", "TMPDIR": str(folder), **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as users have them: with blanks and letters of their own."""
    made = tmp_path / "Eigene Dateien \u00e9\u0915"
    made.mkdir()
    return made


async def start(folder: Path, *arguments: str, **more: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "brokerpool", *arguments),
        cwd=folder,
        env=bare(folder, **more),
        stdout=PIPE,
        stderr=PIPE,
    )


async def first_line(process: Process) -> dict[str, str]:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), SECONDS)
    if not line:
        pytest.fail((await process.communicate())[1].decode())
    told: dict[str, str] = json.loads(line)
    return told


async def ended(process: Process, number: int) -> None:
    """Send a signal and see the process end well, without a traceback."""
    process.send_signal(number)
    _, said = await asyncio.wait_for(process.communicate(), SECONDS)
    text = said.decode("cp1252", errors="replace")  # the folder's name is in it
    assert process.returncode == 0, text
    assert "Traceback" not in text


def test_the_rehearsal_has_really_taken_it_away(folder: Path) -> None:
    async def main() -> None:
        code = (
            "import asyncio, os, signal, socket\n"
            "assert not any(map(hasattr, (signal, os, os, socket, socket),"
            " ('SIGHUP', 'fork', 'fchmod', 'SO_REUSEPORT', 'AF_UNIX')))\n"
            "try: import termios\n"
            "except ModuleNotFoundError: print('gone')\n"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, env=bare(folder), stdout=PIPE
        )
        assert (await process.communicate())[0].strip() == b"gone"

    asyncio.run(main())


@pytest.mark.timeout(300)  # many processes begin, one after the other
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_simulate_and_serve_start_carry_a_call_and_end_well(folder: Path, number: int) -> None:
    async def main() -> None:
        simulator = await start(folder, "simulate", "--broker", "zerodha", "--write-env", "sim.env")
        try:
            await first_line(simulator)
            env = folder / "sim.env"
            # As an editor of Windows leaves it.
            env.write_bytes(b"\xef\xbb\xbf" + env.read_bytes().replace(b"\n", b"\r\n"))
            gateway = await start(
                folder,
                *("serve", "--env-file", "sim.env"),
                WEBSOCKET_PORT="0",
                BROKERPOOL_HTTP_PORT="0",
                BROKERPOOL_API_KEY=KEY,
                DATABASE_URL=f"sqlite:///{folder / 'my gateway.db'}",
            )
            try:
                told = await first_line(gateway)
                for command in ("stats", "top"):
                    asked = await start(folder, command, "--url", told["http_url"], BROKERPOOL_API_KEY=KEY)
                    shown, said = await asyncio.wait_for(asked.communicate(), SECONDS)
                    assert asked.returncode == 0, said.decode()
                    assert shown
                await ended(gateway, number)
            finally:
                if gateway.returncode is None:
                    gateway.kill()
                    await gateway.wait()
            await ended(simulator, number)
        finally:
            if simulator.returncode is None:
                simulator.kill()
                await simulator.wait()

    asyncio.run(main())


@pytest.mark.timeout(300)
def test_the_demo_shows_ticks_and_ends_by_itself_and_by_ctrl_c(folder: Path) -> None:
    async def main() -> None:
        process = await start(folder, "demo", "--seconds", "3")
        shown, said = await asyncio.wait_for(process.communicate(), SECONDS)
        assert process.returncode == 0, said.decode()
        assert "ticks of 12 symbols arrived" in shown.decode("cp1252")
        process = await start(folder, "demo")
        assert process.stdout is not None
        shown = b""
        while not re.search(rb"[1-9]\d* ticks so far", shown):
            shown = await asyncio.wait_for(process.stdout.readline(), SECONDS)
        await ended(process, signal.SIGINT)

    asyncio.run(main())
    assert not list(folder.glob("brokerpool-demo-*"))


def test_the_libraries_are_imported_and_the_blocking_pool_works(folder: Path) -> None:
    code = (
        "import importlib, pkgutil, brokerpool\n"
        "for module in pkgutil.walk_packages(brokerpool.__path__, 'brokerpool.'):\n"
        "    if '.migrations' not in module.name and not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "from brokerpool.sync import DatabasePool\n"
        "from sqlalchemy import text\n"
        "with DatabasePool('sqlite:///my trades.db') as pool:\n"
        "    with pool.begin() as connection:\n"
        "        print(connection.execute(text('SELECT 40 + 2')).scalar())\n"
    )

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code), cwd=folder, env=bare(folder), stdout=PIPE, stderr=PIPE
        )
        shown, said = await asyncio.wait_for(process.communicate(), SECONDS)
        assert process.returncode == 0, said.decode()
        assert shown.strip() == b"42"

    asyncio.run(main())


def test_text_that_the_terminals_code_page_lacks_is_no_traceback(folder: Path) -> None:
    code = "from brokerpool import cli; cli.app = lambda: print('\\u20b9 500'); cli.main()"

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, env=bare(folder), stdout=PIPE, stderr=PIPE
        )
        shown, said = await asyncio.wait_for(process.communicate(), SECONDS)
        assert process.returncode == 0, said.decode()
        assert shown.strip() == b"\\u20b9 500"

    asyncio.run(main())


def test_postgresql_gets_a_loop_that_its_driver_can_use_and_so_do_the_blocking_twins() -> None:
    class Other(asyncio.SelectorEventLoop):
        """Stands for the loop of Windows."""

    class Policy(asyncio.DefaultEventLoopPolicy):
        _loop_factory = Other

    async def kind() -> type[asyncio.AbstractEventLoop]:
        return type(asyncio.get_running_loop())

    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(Policy())
    try:
        for url, wanted in (("sqlite:///x.db", Other), ("postgresql://db/x", asyncio.SelectorEventLoop)):
            settings = DatabaseSettings.load(environ={"DATABASE_URL": url})
            assert run(settings, kind()) is wanted
        thread = LoopThread("test")
        assert thread.run(kind()) is asyncio.SelectorEventLoop
        thread.close()
    finally:
        asyncio.set_event_loop_policy(before)


@pytest.mark.parametrize("token_end", [b"", b"\r\n"])
def test_a_token_and_holidays_of_notepad_are_read_without_its_mark(folder: Path, token_end: bytes) -> None:
    token = folder / "token.txt"
    token.write_bytes(b"\xef\xbb\xbftoken-of-today" + token_end)
    assert _read(token) == "token-of-today"
    days = folder / "holidays.txt"
    days.write_bytes(b"\xef\xbb\xbf2026-12-25 NSE\r\n")
    assert with_holiday_file(MarketHours.india(), str(days)) != MarketHours.india()


def test_a_signal_calls_its_action_with_and_without_handlers_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: object) -> None:
        raise NotImplementedError

    async def main() -> None:
        before = signal.getsignal(signal.SIGTERM)
        heard: list[str] = []
        with signals.handled({"SIGTERM": lambda: heard.append("stop"), "SIGNONE": heard.clear}):
            signal.raise_signal(signal.SIGTERM)
            await until(lambda: heard == ["stop"])
        assert signal.getsignal(signal.SIGTERM) == before

    # To the default it goes back where a loop handles it, whatever this run of the tests had made of it.
    of_the_run = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        asyncio.run(main())
        monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", missing)
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGTERM, of_the_run)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_settings_are_read_from_a_file_of_any_editor(folder: Path, end: bytes, mark: bytes) -> None:
    lines = (
        b"BROKERPOOL_BROKER_API_KEY=app",
        b"BROKERPOOL_BROKER_ACCESS_TOKEN='token'",
        b"BROKERPOOL_API_KEY=0123456789abcdef",
        b"DATABASE_URL=sqlite:///C:\\new folder\\trades.db",
        b"",
    )
    env = folder / "my settings.env"
    env.write_bytes(mark + end.join(lines))
    settings = Settings.load(env_file=env, environ={})
    assert settings.broker_api_key.get_secret_value() == "app"
    assert settings.broker_access_token.get_secret_value() == "token"
    assert settings.database_url.get_secret_value() == "sqlite:///C:\\new folder\\trades.db"


def test_no_time_zone_data_is_needed() -> None:
    # Windows has none: the market's hours come from fixed offsets, and `zoneinfo` is imported nowhere.
    sources = (ROOT / "src").rglob("*.py")
    assert not [path for path in sources if "zoneinfo" in path.read_text("utf-8")]
