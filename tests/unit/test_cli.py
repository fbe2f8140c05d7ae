"""Promises of the command line: help, exit codes, one clear line for an error, never a traceback."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from brokerpool import cli
from tests import command_line

run = command_line.run
DOCS = Path(__file__).parents[2] / "docs"


COMMANDS = (
    "serve",
    "simulate",
    "demo",
    "feed",
    "accounts",
    "check",
    "plan",
    "stats",
    "top",
    "explain",
    "errors",
    "keys",
    "login",
    "db",
)


START_SECONDS = 30


# -- help ------------------------------------------------------------------------------------------------


def test_each_command_has_help(run: Any) -> None:
    assert set(COMMANDS) == set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]  # app is a group
    for command in COMMANDS:
        ran = run(command, "--help")
        assert ran.code == 0
        assert command in ran.out


def test_each_command_and_option_is_on_the_reference_page() -> None:
    text = (DOCS / "reference" / "command-line.md").read_text("utf-8")
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # app is a group
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert option in section, f"{name} {option}"
        for below in getattr(command, "commands", ()):
            assert f"{name} {below}" in section


def test_the_version_is_told(run: Any) -> None:
    ran = run("--version")
    assert ran.code == 0
    assert ran.out.startswith("brokerpool ")


def test_the_installed_script_has_each_command() -> None:
    script = shutil.which("brokerpool", path=Path(sys.executable).parent)
    assert script is not None, "the package is installed"
    ran = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=START_SECONDS)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert set(COMMANDS) <= set(ran.stdout.split())


def test_an_unknown_command_is_a_usage_error(run: Any) -> None:
    assert run("fly").code == 2


# -- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "check"])
def test_wrong_settings_end_with_all_faults_and_code_2(run: Any, command: str) -> None:
    wrong = {"BROKERPOOL_API_KEY": "too-short-key", "BROKERPOOL_HTTP_PROT": "1"}
    ran = run(command, **wrong, BROKERPOOL_BROKER_HTTP_URL="http://127.0.0.1:9")
    assert ran.code == 2
    assert ran.err.startswith("brokerpool: INVALID_SETTINGS: 3 at fault") or command == "check"
    for told in (
        "BROKERPOOL_BROKER_API_KEY is",
        "BROKERPOOL_API_KEY must",
        "did you mean BROKERPOOL_HTTP_PORT",
    ):
        assert told in ran.err
    assert "BROKERPOOL_API_KEY is not set" not in ran.err
    assert "too-short-key" not in ran.err + ran.out
    assert "Traceback" not in ran.err


def test_an_env_file_in_the_working_directory_is_read(run: Any, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_SYMBOLS_PER_WEBSOCKET=2\n")
    assert "room for 5 more" in run("plan", "NSE:INFY").out


def test_a_value_above_the_published_limit_is_told(run: Any) -> None:
    ran = run("plan", "NSE:INFY", MAX_WEBSOCKET_CONNECTIONS="4")
    assert ran.code == 0
    assert "MAX_WEBSOCKET_CONNECTIONS is 4, above the 3" in ran.err


# -- plan ------------------------------------------------------------------------------------------------


def test_plan_spreads_2500_symbols_as_the_seed_does(run: Any, tmp_path: Path) -> None:
    symbols = tmp_path / "symbols.txt"
    symbols.write_text("# mine\n\n" + "".join(f"NSE:SIM{n}\n" for n in range(2500)))
    ran = run("plan", str(symbols), "--mode", "Depth")
    assert ran.code == 0
    rows = [line.replace("│", " ").split() for line in ran.out.splitlines() if "zerodha-" in line]
    assert [row[1:] for row in rows] == [["1000", "0"], ["1000", "0"], ["500", "500"]]
    assert "2500 of 2500 symbols fit in mode Depth" in ran.out


def test_plan_names_what_would_be_refused_and_ends_with_1(run: Any) -> None:
    limits = {"MAX_SYMBOLS_PER_WEBSOCKET": "1", "MAX_WEBSOCKET_CONNECTIONS": "2"}
    ran = run("plan", "NSE:INFY", "NSE:SBIN", "NSE:INFY", "NSE:TCS", **limits)
    assert ran.code == 1
    assert "2 of 3 symbols fit" in ran.out
    assert "brokerpool: 1 would be refused: NSE:TCS" in ran.err


def test_plan_refuses_a_text_that_is_no_symbol(run: Any) -> None:
    ran = run("plan", "INFY")
    assert ran.code == 2
    assert "EXCHANGE:SYMBOL" in ran.err


# -- the library -----------------------------------------------------------------------------------------


def test_importing_the_library_loads_nothing_of_the_gateway_extra() -> None:
    code = "import sys, brokerpool, brokerpool.sync; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"typer", "rich", "fastapi", "uvicorn"} & set(loaded.split())


def test_a_missing_extra_is_named() -> None:
    code = "import sys; sys.modules['typer'] = None; import brokerpool.cli"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "pip install 'brokerpool[gateway]'" in ran.stderr
    assert "Traceback" not in ran.stderr
