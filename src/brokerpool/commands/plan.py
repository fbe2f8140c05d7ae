"""`brokerpool plan`: whether symbols fit, beside those that the running gateway has placed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from brokerpool.commands.account_spread import AccountPlan, spread
from brokerpool.commands.gateway_request import RefusedByGateway, answer
from brokerpool.commands.gateway_target import Url, target
from brokerpool.commands.options import FAULT, Config, EnvFile, env_file_or_default, warn
from brokerpool.errors import BrokerpoolError
from brokerpool.instruments import Instrument
from brokerpool.settings import AccountSettings, AccountsSettings, NamedAccounts, words
from brokerpool.ticks import Mode

_NAMED_SYMBOLS = 20  # a list names this many symbols and counts the rest


class ModeName(Enum):
    """The modes as arguments."""

    LTP = "ltp"
    QUOTE = "quote"
    DEPTH = "depth"


class Limits(NamedTuple):
    """One account: its limits in force, the exchanges that it serves (all if none), and what it has now."""

    name: str
    broker: str
    max_symbols: int
    max_connections: int
    exchanges: tuple[str, ...] = ()
    taken: int = 0


class Present(NamedTuple):
    """The accounts in order of preference, what is placed, and a sentence that says where that comes from."""

    accounts: tuple[Limits, ...]
    held: frozenset[Instrument]
    told: str


def plan(
    symbols: Annotated[
        list[str],
        typer.Argument(help="EXCHANGE:SYMBOL, any number of them; or one file with one on each line."),
    ],
    mode: Annotated[
        ModeName, typer.Option(case_sensitive=False, help="How much is wanted.")
    ] = ModeName.QUOTE,
    url: Url = None,
    empty: Annotated[bool, typer.Option("--empty", help="Ask no gateway: plan for an empty pool.")] = False,
    env_file: EnvFile = None,
    config: Config = None,
) -> None:
    """Tell which connections symbols would take and what would be refused; dials nothing.

    What the running gateway has placed now counts, with the limits that are in force there; where none
    answers, the settings count and an empty pool, and the first line says so. Exits with 0 when everything
    fits, else with 1.
    """
    file = env_file_or_default(env_file)
    settings: NamedAccounts = NamedAccounts.load(env_file=file, config=config)
    if settings.account_tables:  # one account needs no key for this
        settings = AccountsSettings.load(env_file=file, config=config)
    warn(settings)
    wanted = list(dict.fromkeys(_instruments(symbols)))
    present = _planned_empty(settings, "nobody was asked") if empty else _present(settings, url, env_file)
    typer.echo(present.told)
    accounts, wanted_mode = _accounts(present, settings), Mode[mode.name]
    unplaced = spread(accounts, [i for i in wanted if i not in present.held], wanted_mode)
    Console().print(_table(accounts, wanted_mode))
    typer.echo(
        f"{len(wanted) - len(unplaced)} of {len(wanted)} symbols fit in mode {wanted_mode.label};"
        f" {_room(accounts, wanted_mode)}."
    )
    if unplaced:
        typer.echo(f"brokerpool: {len(unplaced)} would be refused: {_named(unplaced)}", err=True)
        sys.exit(FAULT)


def _accounts(present: Present, settings: NamedAccounts) -> list[AccountPlan]:
    from brokerpool.brokers import registry
    from brokerpool.feed.placement import POLICIES

    return [
        AccountPlan(
            account.name,
            registry.broker(account.broker).limits.capacity.lowered(
                account.max_symbols, account.max_connections
            ),
            POLICIES[settings.placement],
            exchanges=account.exchanges,
            taken=account.taken,
        )
        for account in present.accounts
    ]


def _table(accounts: list[AccountPlan], mode: Mode) -> Table:
    several = len(accounts) > 1
    table = Table(*(["account"] if several else []), "connection", "symbols", "room left")
    for account in accounts:
        for row in account.rows(mode):
            table.add_row(
                *([row.account] if several else []), row.connection, str(row.symbols), str(row.room)
            )
    return table


def _room(accounts: list[AccountPlan], mode: Mode) -> str:
    rooms = {account.name: account.room(mode) for account in accounts}
    if len(accounts) == 1:
        (account,) = accounts
        return f"the pool of {account.connections} connections has room for {rooms[account.name]} more"
    told = ", ".join(f"{name} {room}" for name, room in rooms.items())
    return f"the accounts have room for {sum(rooms.values())} more: {told}"


def _present(settings: NamedAccounts, url: str | None, env_file: Path | None) -> Present:
    asked = target(url, env_file)
    try:
        pool = answer(asked, "stats", needs=("websocket", "gateway"))["websocket"]
        rows = answer(asked, "subscriptions", needs=("subscriptions",))["subscriptions"]
    except RefusedByGateway as refused:
        return _planned_empty(settings, f"the gateway at {asked.url} does not say ({refused})")
    except BrokerpoolError:
        return _planned_empty(settings, f"no gateway answers at {asked.url}")
    return Present(
        _running(pool, settings),
        frozenset(Instrument(row["exchange"], row["symbol"]) for row in rows),
        f"Beside the {pool['total_symbols']} symbols that the running gateway at {asked.url} has placed now:",
    )


def _running(pool: Mapping[str, Any], settings: NamedAccounts) -> tuple[Limits, ...]:
    """Return the accounts of a running gateway, as it tells them."""
    accounts = pool.get("accounts", ())  # an older gateway names none
    if len(accounts) < 2:  # symbols that nobody holds any more keep their places for a while
        limits = pool["max_symbols_per_connection"], pool["max_connections"]
        return (Limits(settings.broker, settings.broker, *limits, taken=pool["total_symbols"]),)
    return tuple(
        Limits(
            account["name"],
            account["broker"],
            account["max_symbols_per_connection"],
            account["max_connections"],
            tuple(words(account["exchanges"])),
            account["symbols_home"],
        )
        for account in accounts
    )


def _planned_empty(settings: NamedAccounts, why: str) -> Present:
    if isinstance(settings, AccountsSettings):
        accounts = tuple(
            Limits(a.name, a.broker, *_sizes(a), exchanges=a.exchanges) for a in settings.accounts()
        )
        return Present(accounts, frozenset(), f"As if the accounts were empty: {why}.")
    one = Limits(settings.broker, settings.broker, *_sizes(settings))
    return Present((one,), frozenset(), f"As if the pool were empty: {why}.")


def _sizes(limited: NamedAccounts | AccountSettings) -> tuple[int, int]:
    return limited.max_symbols_per_websocket, limited.max_websocket_connections


def _instruments(arguments: list[str]) -> Iterator[Instrument]:
    """Read symbols from the arguments, or from the file that is the only argument."""
    texts = arguments
    if len(arguments) == 1 and Path(arguments[0]).is_file():
        lines = Path(arguments[0]).read_text("utf-8-sig").splitlines()
        texts = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for text in texts:
        try:
            yield Instrument.parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None


def _named(instruments: list[Instrument]) -> str:
    named = ", ".join(map(str, instruments[:_NAMED_SYMBOLS]))
    more = len(instruments) - _NAMED_SYMBOLS
    return f"{named} and {more} more" if more > 0 else named
