"""Promises of `brokerpool login`: what is pasted is understood, tried and stored, and nothing else is."""

from __future__ import annotations

import asyncio
import sys
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from brokerpool import cli
from brokerpool.brokers.zerodha.login_session import KiteSession, redirected_token, token_end
from brokerpool.commands.login_redirect import Redirect
from brokerpool.settings import NAMES, DatabaseSettings
from brokerpool.simulator import KiteSimulator
from brokerpool.store.gateway_store import Store
from tests.beside import beside

SECRET_KEY = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="


@pytest.fixture
def broker() -> Iterator[KiteSimulator]:
    """A simulated broker on a loop of its own, for the command has one as well."""
    with beside(KiteSimulator(rate=0)) as simulator:
        yield simulator


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    broker: KiteSimulator,
) -> Callable[..., tuple[int, str, list[str]]]:
    """Run `login` with answers to its prompts; return its code, all that it printed, and what it asked."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, answers: tuple[str, ...] = (), **environ: str) -> tuple[int, str, list[str]]:
        settings = {
            "BROKERPOOL_SECRET_KEY": SECRET_KEY,
            "BROKERPOOL_BROKER_API_KEY": broker.api_key,
            "BROKERPOOL_BROKER_API_SECRET": broker.api_secret,
            "BROKERPOOL_BROKER_HTTP_URL": broker.http_url,
            "BROKERPOOL_BROKER_LOGIN_URL": broker.login_url,
            **environ,
        }
        asked: list[str] = []

        def prompt(text: str, *, hide_input: bool, err: bool) -> str:
            assert hide_input
            assert err
            asked.append(text)
            return answers[len(asked) - 1]

        with monkeypatch.context() as patched:
            for name, value in settings.items():
                patched.setenv(name, value)
            patched.setattr(typer, "prompt", prompt)
            patched.setattr(sys, "argv", ["brokerpool", "login", *arguments])
            with pytest.raises(SystemExit) as ended:
                cli.main()
        printed = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), printed.out + printed.err, asked

    return run


def stored(folder: Path) -> Any:
    """The newest login, None where there is not even a database."""
    if not (folder / "brokerpool.db").exists():
        return None

    async def main() -> Any:
        settings = DatabaseSettings.load(environ={"BROKERPOOL_SECRET_KEY": SECRET_KEY})
        async with Store.of(settings) as store:
            return await store.login("zerodha")

    return asyncio.run(main())


def redirected(broker: KiteSimulator) -> str:
    """Log in at the simulated page, and return the address to which that leads."""
    page = f"{broker.login_url}?v=3&api_key={broker.api_key}"
    with urllib.request.urlopen(urllib.request.Request(page, method="POST"), timeout=5) as answer:
        return str(answer.url)


@pytest.mark.parametrize("whole", [True, False])
def test_the_address_after_the_login_or_its_token_alone_becomes_a_stored_login(
    run: Any, broker: KiteSimulator, tmp_path: Path, *, whole: bool
) -> None:
    address = redirected(broker)
    pasted = address if whole else redirected_token(address)
    code, said, asked = run(answers=(pasted,))
    assert code == 0, said
    assert f"{broker.login_url}?v=3&api_key={broker.api_key}" in said
    assert "Login 1 of zerodha is stored: SIM001 (Simulated Account), until " in said
    assert len(asked) == 1, "the secret is set, and is not asked for"
    kept = stored(tmp_path)
    assert (kept.access_token, kept.user) == (broker.access_token, "SIM001")
    assert 0 < token_end(0) <= kept.expires_at
    for secret in (broker.access_token, broker.api_secret, redirected_token(address)):
        assert str(secret) not in said


def test_a_secret_that_is_not_set_is_asked_for_hidden(
    run: Any, broker: KiteSimulator, tmp_path: Path
) -> None:
    answers = (redirected(broker), broker.api_secret)
    code, said, asked = run(answers=answers, BROKERPOOL_BROKER_API_SECRET="")
    assert code == 0, said
    assert asked[1] == "API secret of the app"
    assert stored(tmp_path).user == "SIM001"


def test_no_secret_is_asked_for_where_the_broker_needs_none(
    run: Any, broker: KiteSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KiteSession, "secret", lambda session, redirected: "")
    _, _, asked = run(answers=(redirected(broker),), BROKERPOOL_BROKER_API_SECRET="")
    assert len(asked) == 1


def test_a_ready_made_access_token_is_tried_and_stored(
    run: Any, broker: KiteSimulator, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(broker.access_token)
    assert run(answers=(broker.access_token,))[0] == 0
    code, said, asked = run("--file", "token")
    assert (code, asked) == (0, []), said
    assert "Login 2 of zerodha is stored: SIM001" in said


def test_what_the_broker_refuses_is_told_with_what_to_do_and_not_stored(
    run: Any, broker: KiteSimulator, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("yesterdays-token")
    for code, said, _ in (
        run("--file", "token"),
        run(answers=("yesterdays-token",)),
        run(answers=(redirected(broker),), BROKERPOOL_BROKER_API_SECRET="of-another-app"),
    ):
        assert code == 1
        assert "nothing is stored" in said
        assert "BROKER_REFUSED_CREDENTIALS" in said
        assert "og in to the broker again" in said
        assert "yesterdays-token" not in said
        assert "of-another-app" not in said
    code, said, _ = run(answers=("http://127.0.0.1/?status=cancelled",))
    assert code == 2
    assert "log in again" in said
    assert stored(tmp_path) is None


def test_a_broker_that_does_not_answer_leaves_nothing_stored_unless_it_is_not_to_be_asked(
    run: Any, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("todays-token")
    away = {"BROKERPOOL_BROKER_HTTP_URL": "http://127.0.0.1:9"}
    code, said, _ = run("--file", "token", **away)
    assert code == 1
    assert "BROKER_UNREACHABLE" in said
    assert "--untried" in said
    assert stored(tmp_path) is None
    assert run("--untried", "--file", "token", **away)[0] == 0
    assert stored(tmp_path).access_token == "todays-token"


def test_the_browser_is_opened_at_the_login_page(
    run: Any, broker: KiteSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: not opened.append(url))  # type: ignore[func-returns-value]
    assert run("--browser", answers=(broker.access_token,))[0] == 0
    assert opened == [f"{broker.login_url}?v=3&api_key={broker.api_key}"]


def test_nobody_who_comes_ends_the_wait_in_time_and_frees_the_port() -> None:
    async def main() -> None:
        redirect = Redirect(0, "mine", redirected_token)
        await redirect.open()
        with pytest.raises(TimeoutError):
            await redirect.token(0.05)
        await redirect.close()

    asyncio.run(asyncio.wait_for(main(), 10))
