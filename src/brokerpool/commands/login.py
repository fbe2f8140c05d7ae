"""`brokerpool login`: today's login at the broker, tried and put into the database."""

from __future__ import annotations

import contextlib
import secrets
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brokerpool.commands.options import Config, EnvFile, chosen, env_file_or_default, run, with_store
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.settings import (
    AccountSettings,
    AccountsSettings,
    DatabaseSettings,
    EgressSettings,
    NamedAccounts,
)

if TYPE_CHECKING:
    from brokerpool.brokers.login import Credentials
    from brokerpool.brokers.registry import Holder, LoginSession

_LONGEST = 4096  # characters of a token or an address; a larger file is something else


class _LoginSettings(AccountsSettings, EgressSettings, DatabaseSettings):
    """What a login needs, and nothing of what only a gateway does."""


def login(
    account: Annotated[
        str | None, typer.Argument(help="The account by its name; needed where there are several.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="A file that holds a ready-made access token and nothing else."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the login page in the browser.")] = False,
    listen: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_535,
            help="Wait at 127.0.0.1 on this port for the browser, which the redirect address leads there.",
        ),
    ] = None,
    untried: Annotated[
        bool, typer.Option(help="Store a ready-made access token without asking the broker about it.")
    ] = False,
    env_file: EnvFile = None,
    config: Config = None,
) -> None:
    """Log in at the broker, try what that gives, and store it encrypted; a running gateway takes it over.

    Prints the address of the login page. Paste the address to which the login leads (or its request token,
    or a ready-made access token) at the prompt, which does not show it: arguments are visible to every user
    of the machine. What the broker does not accept is refused, and nothing is stored. With several accounts
    each has a login of its own.
    """
    from brokerpool.brokers.login import Credentials
    from brokerpool.store.vault import Vault

    given = env_file_or_default(env_file)
    database = DatabaseSettings.load(env_file=given, config=config)
    name = chosen(NamedAccounts.load(env_file=given, config=config).names_of_accounts, account)
    Vault(database.secret_key.get_secret_value())  # before anybody logs in in vain
    if untried:
        if listen is not None or browser:
            raise typer.BadParameter("--untried is for a ready-made token, which comes from no login page.")
        text = _asked("Access token") if file is None else _read(file)
        version = with_store(database, lambda store: store.save_login(name, Credentials(text)))
        typer.echo(f"Login {version} of {name} is stored. It was not tried.")
        return
    settings = _LoginSettings.load(env_file=given, config=config)
    of = next(known for known in settings.accounts() if known.name == name)
    session = _session(settings, of)
    try:
        if file is not None:
            holder, credentials = run(settings, session.tried(_read(file)))
        else:
            holder, credentials = _logged_in(session, settings, of, browser=browser, listen=listen)
    except BrokerError as error:
        away = error.code is not ErrorCode.BROKER_REFUSED_CREDENTIALS
        hint = " A ready-made access token can be stored with --untried all the same." if away else ""
        typer.echo(f"brokerpool: nothing is stored.{hint}", err=True)
        raise
    version = with_store(database, lambda store: store.save_login(name, credentials))
    typer.echo(f"Login {version} of {name} is stored: {holder}{_end(session, credentials)}.")
    if of.broker_access_token.get_secret_value():
        typer.echo(
            f"{of.setting('access_token')} is set as well, and `serve` begins with it: take it out.",
            err=True,
        )


def _logged_in(
    session: LoginSession,
    settings: _LoginSettings,
    account: AccountSettings,
    *,
    browser: bool,
    listen: int | None,
) -> tuple[Holder, Credentials]:
    """Let a person log in, and return what the broker accepts."""
    state = secrets.token_urlsafe(16) if listen is not None else ""
    address = session.login_address(state)
    typer.echo(f"Log in here: {address}", err=True)
    if listen is not None:
        token = run(settings, _caught(session, listen, state, address if browser else None))
    else:
        if browser:
            _open(address)
        text = _asked("The address to which that led, its request token, or an access token")
        try:
            redirected = session.redirected(text)
        except ValueError as error:
            raise typer.BadParameter(f"{error}.") from None
        if redirected is None:
            # One word tells not which of the two tokens it is; asking about an access token uses nothing up.
            with contextlib.suppress(_RefusedError):
                return run(settings, _tried(session, text))
        token = redirected or text
    wanted = session.secret(token)
    secret = account.broker_api_secret.get_secret_value() or (_asked(wanted) if wanted else "")
    return run(settings, _exchanged(session, account, token, secret))


class _RefusedError(Exception):
    """The broker does not accept a token."""


async def _tried(session: LoginSession, token: str) -> tuple[Holder, Credentials]:
    try:
        return await session.tried(token)
    except BrokerError as error:
        if error.code is ErrorCode.BROKER_REFUSED_CREDENTIALS:
            raise _RefusedError from None
        raise


async def _exchanged(
    session: LoginSession, account: AccountSettings, request_token: str, secret: str
) -> tuple[Holder, Credentials]:
    try:
        made = await session.exchange(request_token, secret)
    except BrokerError as error:
        if error.code is not ErrorCode.BROKER_REFUSED_CREDENTIALS:
            raise
        raise BrokerError(
            "The broker makes no access token of this. A request token works once and for a few minutes; if a"
            f" fresh one is refused too, {account.setting('api_secret')} is not the secret of the app that"
            f" {account.setting('api_key')} names.",
            code=ErrorCode.BROKER_REFUSED_CREDENTIALS,
        ) from None
    holder, known = await session.tried(made.access_token)
    # What only the exchange tells, further tokens above all, belongs to the login.
    more, end = known.more or made.more, known.expires_at if known.expires_at is not None else made.expires_at
    return holder, replace(known, more=more, expires_at=end)


async def _caught(session: LoginSession, port: int, state: str, address: str | None) -> str:
    from brokerpool.commands.login_redirect import PATIENCE_SECONDS, Redirect

    redirect = Redirect(port, state, session.redirected)
    try:
        await redirect.open()
    except OSError as error:
        raise typer.BadParameter(f"--listen: cannot listen on 127.0.0.1:{port}: {error.strerror}.") from None
    try:
        typer.echo(f"Waiting at http://127.0.0.1:{port}/, the app's redirect address.", err=True)
        if address is not None:
            _open(address)
        return await redirect.token()
    except TimeoutError:
        raise BrokerError(
            f"No login came within {PATIENCE_SECONDS:g} s, and nothing is stored. Is http://127.0.0.1:{port}/"
            " the redirect address of the app? Without --listen the address can be pasted.",
            code=ErrorCode.NO_CREDENTIALS,
        ) from None
    finally:
        await redirect.close()


def _session(settings: _LoginSettings, account: AccountSettings) -> LoginSession:
    from brokerpool.brokers import registry

    return registry.broker(account.broker).session(account.access(egress=settings.egress))


def _end(session: LoginSession, credentials: Credentials) -> str:
    return "" if credentials.expires_at is None else f", until {session.until(credentials.expires_at)}"


def _open(address: str) -> None:
    if not webbrowser.open(address):
        typer.echo("No browser could be opened; open the address by hand.", err=True)


def _asked(what: str) -> str:
    return _one_word(str(typer.prompt(what, hide_input=True, err=True)))


def _read(file: Path) -> str:
    try:
        with file.open("rb") as lines:
            return _one_word(lines.read(_LONGEST + 1).decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {type(error).__name__}.") from None


def _one_word(text: str) -> str:
    word = text.strip()
    if not word or len(text) > _LONGEST or any(part.isspace() or not part.isprintable() for part in word):
        raise typer.BadParameter("this is no token: it must be one word of at most 4096 characters.")
    return word
