"""`brokerpool plan`: whether symbols fit, beside those that the running gateway has placed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from brokerpool.commands.gateway_request import RefusedByGateway, answer
from brokerpool.commands.gateway_target import Url, target
from brokerpool.commands.options import FAULT, Config, EnvFile, env_file_or_default, warn
from brokerpool.errors import BrokerpoolError
from brokerpool.instruments import Instrument
from brokerpool.settings import PoolSettings
from brokerpool.ticks import Mode

_NAMED_SYMBOLS = 20  # a list names this many symbols and counts the rest


class ModeName(Enum):
    """The modes as arguments."""

    LTP = "ltp"
    QUOTE = "quote"
    DEPTH = "depth"


class Present(NamedTuple):
    """What is placed already, and the limits in force; with a sentence that says where that comes from."""

    max_symbols: int
    max_connections: int
    placed: tuple[Instrument, ...]
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
    from brokerpool.brokers import registry
    from brokerpool.brokers.capacity import EMPTY
    from brokerpool.feed.placement import POLICIES, Placement

    settings = PoolSettings.load(env_file=env_file_or_default(env_file), config=config)
    warn(settings)
    wanted = list(dict.fromkeys(_instruments(symbols)))
    present = _planned_empty(settings, "nobody was asked") if empty else _present(settings, url, env_file)
    typer.echo(present.told)
    published = registry.broker(settings.broker).limits.capacity
    rule = published.lowered(present.max_symbols, present.max_connections)
    placement = Placement(settings.broker, rule, POLICIES[settings.placement])
    placement.commit(placement.plan(present.placed))
    held = set(present.placed)
    wanted_mode = Mode[mode.name]
    staged = placement.plan([i for i in wanted if i not in held], mode=wanted_mode)
    placement.commit(staged)
    table = Table("connection", "symbols", "room left")
    for name, load in placement.loads.items():
        table.add_row(name, str(load), str(placement.room(name, wanted_mode)))
    Console().print(table)
    room = sum(placement.room(name, wanted_mode) for name in placement.loads)
    room += len(placement.new_slots()) * rule.room(EMPTY, wanted_mode)
    typer.echo(
        f"{len(wanted) - len(staged.unplaced)} of {len(wanted)} symbols fit in mode {wanted_mode.label};"
        f" the pool of {placement.max_slots} connections has room for {room} more."
    )
    if staged.unplaced:
        text = f"{len(staged.unplaced)} would be refused: {_named(staged.unplaced)}"
        typer.echo(f"brokerpool: {text}", err=True)
        sys.exit(FAULT)


def _present(settings: PoolSettings, url: str | None, env_file: Path | None) -> Present:
    asked = target(url, env_file)
    try:
        pool = answer(asked, "stats", needs=("websocket", "gateway"))["websocket"]
        rows = answer(asked, "subscriptions", needs=("subscriptions",))["subscriptions"]
    except RefusedByGateway as refused:
        return _planned_empty(settings, f"the gateway at {asked.url} does not say ({refused})")
    except BrokerpoolError:
        return _planned_empty(settings, f"no gateway answers at {asked.url}")
    placed = list(dict.fromkeys(Instrument(row["exchange"], row["symbol"]) for row in rows))
    # Symbols that nobody holds any more keep their places for a while.
    lingering = [Instrument("NSE", f" {number}") for number in range(pool["total_symbols"] - len(placed))]
    return Present(
        pool["max_symbols_per_connection"],
        pool["max_connections"],
        (*placed, *lingering),
        f"Beside the {pool['total_symbols']} symbols that the running gateway at {asked.url} has placed now:",
    )


def _planned_empty(settings: PoolSettings, why: str) -> Present:
    return Present(
        settings.max_symbols_per_websocket,
        settings.max_websocket_connections,
        (),
        f"As if the pool were empty: {why}.",
    )


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
