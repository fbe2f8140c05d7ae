"""Promises of `brokerpool keys`, `login` and `db`: a secret is shown once or never, and is no argument."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import pty
import sqlite3
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from brokerpool.brokers.login import Credentials
from brokerpool.errors import ErrorCode
from brokerpool.settings import DatabaseSettings
from brokerpool.store.gateway_store import Store
from tests import command_line

SECRET_KEY = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="
OTHER_KEY = "YW5vdGhlciBrZXksIG5vdCB0aGF0IG9mIGJlZm9yZSE="
TOKEN = "access-token-0123456789"
run = command_line.run


def stored_login(secret_key: str = SECRET_KEY) -> Credentials:
    """The newest login in the database of the working directory."""

    async def main() -> Credentials:
        settings = DatabaseSettings.load(environ={"BROKERPOOL_SECRET_KEY": secret_key})
        async with Store.of(settings) as store:
            return await store.login("zerodha")

    return asyncio.run(main())


def test_a_key_is_printed_alone_when_it_is_made_and_never_again(run: Any, tmp_path: Path) -> None:
    made = run("keys", "create", "strategy", "--scope", "data", "--scope", "orders")
    assert made.code == 0
    key = made.out.strip()
    assert made.out == f"{key}\n", "a script can take it as it is"
    assert key.startswith("bp_")
    listed = run("keys", "list")
    assert all(word in listed.out for word in ("strategy", "data, orders"))
    assert key not in listed.out
    assert key.encode() not in (tmp_path / "brokerpool.db").read_bytes()


def test_a_key_without_scopes_may_read_data_only(run: Any) -> None:
    run("keys", "create", "strategy")
    listed = run("keys", "list").out
    assert "data" in listed
    assert not any(scope in listed for scope in ("orders", "admin"))


def test_revoking_says_what_it_did_and_fails_for_a_key_that_is_not_valid(run: Any) -> None:
    run("keys", "create", "strategy")
    taken = run("keys", "create", "strategy")
    assert (taken.code, taken.out) == (1, "")
    assert taken.err.startswith("brokerpool: KEY_NAME_TAKEN")
    revoked = run("keys", "revoke", "strategy")
    assert (revoked.code, revoked.out) == (0, "strategy is revoked.\n")
    again = run("keys", "revoke", "strategy")
    assert again.code == 1
    assert again.err.startswith("brokerpool: KEY_NOT_FOUND")


def test_a_bad_name_or_scope_is_a_wrong_argument(run: Any) -> None:
    assert run("keys", "create", "two\nlines").code == 2
    assert run("keys", "create", "strategy", "--scope", "everything").code == 2


def test_a_login_from_a_file_is_stored_under_a_version_and_is_not_shown(
    run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with caplog.at_level(logging.DEBUG):
        first = run("login", "--untried", "--file", "token", BROKERPOOL_SECRET_KEY=SECRET_KEY)
        second = run("login", "--untried", "--file", "token", BROKERPOOL_SECRET_KEY=SECRET_KEY)
    assert first.out == "Login 1 of zerodha is stored. It was not tried.\n", first.err
    assert second.out.startswith("Login 2 of zerodha is stored.")
    assert TOKEN not in first.out + first.err + caplog.text
    assert TOKEN.encode() not in (tmp_path / "brokerpool.db").read_bytes()
    assert stored_login() == Credentials(TOKEN)


def test_a_login_from_the_prompt_is_not_echoed(tmp_path: Path) -> None:
    terminal, side = pty.openpty()
    environ = {**os.environ, "BROKERPOOL_SECRET_KEY": SECRET_KEY}
    with subprocess.Popen(
        [sys.executable, "-m", "brokerpool", "login", "--untried"],
        cwd=tmp_path,
        env=environ,
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
    ) as process:
        os.close(side)
        shown = b""
        with io.FileIO(terminal, "r+") as screen:
            while b"Access token" not in shown:
                shown += screen.read(1024) or b""
            deadline = time.monotonic() + 20
            while termios.tcgetattr(terminal)[3] & termios.ECHO:  # until then it is the terminal that echoes
                assert time.monotonic() < deadline
            screen.write(f"{TOKEN}\n".encode())
            while b"is stored" not in shown:
                shown += screen.read(1024) or b""
            process.wait(20)
    assert b"Login 1 of zerodha is stored." in shown
    assert TOKEN.encode() not in shown


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"x" * 5000])
def test_a_file_that_holds_no_token_is_refused_and_nothing_is_stored(
    run: Any, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "token").write_bytes(content)
    assert run("login", "--untried", "--file", "token", BROKERPOOL_SECRET_KEY=SECRET_KEY).code == 2
    assert run("login", "--untried", "--file", "no such file", BROKERPOOL_SECRET_KEY=SECRET_KEY).code == 2
    assert not (tmp_path / "brokerpool.db").exists()


def test_login_takes_no_token_as_argument(run: Any) -> None:
    assert run("login", TOKEN, BROKERPOOL_SECRET_KEY=SECRET_KEY).code == 2


def test_without_a_secret_key_login_refuses_before_it_asks(run: Any, tmp_path: Path) -> None:
    refused = run("login")
    assert refused.code == 1
    assert refused.err.startswith("brokerpool: SECRET_KEY_MISSING")
    bad = run("login", BROKERPOOL_SECRET_KEY=f"{SECRET_KEY},hunter2")
    assert bad.code == 2
    assert "BROKERPOOL_SECRET_KEY: one of the keys is no Fernet key" in bad.err
    assert "hunter2" not in bad.err
    assert not (tmp_path / "brokerpool.db").exists()


def test_a_bad_database_url_is_told_without_its_password(run: Any) -> None:
    refused = run("keys", "list", DATABASE_URL="mysql://user:hunter2@host/name")
    assert refused.code == 2
    assert "DATABASE_URL: begin with sqlite:/// or postgresql://" in refused.err
    assert "hunter2" not in refused.err


def test_upgrade_says_from_where_to_where(run: Any) -> None:
    assert run("db", "upgrade").out.endswith("/brokerpool.db went from revision none to 0003.\n")
    assert run("db", "upgrade").out.endswith("/brokerpool.db has revision 0003; nothing was to be done.\n")


def test_check_finds_nothing_in_a_healthy_database(run: Any) -> None:
    run("db", "upgrade")
    checked = run("db", "check")
    assert (checked.code, checked.err) == (0, "")


def test_check_of_a_file_that_is_not_there_makes_none(run: Any, tmp_path: Path) -> None:
    checked = run("db", "check")
    assert checked.code == 2
    assert f"DATABASE_URL: there is no file {tmp_path}/brokerpool.db yet" in checked.err
    assert list(tmp_path.iterdir()) == []


def test_check_lists_an_old_schema_a_wrong_key_and_a_newer_schema(run: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    run("login", "--untried", "--file", "token", BROKERPOOL_SECRET_KEY=SECRET_KEY)
    wrong = run("db", "check", BROKERPOOL_SECRET_KEY=OTHER_KEY)
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.startswith(f"brokerpool: {ErrorCode.SECRET_KEY_WRONG.name}: login 1 of zerodha")
    for number, said in (("0001", "has revision 0001, and this version needs 0003"), ("9999", "NEWER")):
        conn = sqlite3.connect(tmp_path / "brokerpool.db")
        conn.execute("UPDATE brokerpool_revision SET version_num = ?", [number])
        conn.commit()
        conn.close()
        checked = run("db", "check", BROKERPOOL_SECRET_KEY=SECRET_KEY)
        assert checked.code == 2
        assert said in checked.err
