"""`brokerpool explain`: one symbol of the running gateway, and why it is not served."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from brokerpool.commands.gateway_request import answer
from brokerpool.commands.gateway_target import Url, target
from brokerpool.commands.terminal_tables import who


def explain(
    symbol: Annotated[str, typer.Argument(help="EXCHANGE:SYMBOL, as in NSE:INFY.")],
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as it is.")] = False,
) -> None:
    """Tell who wants a symbol, which connection carries it, and why it is not served.

    Exits with 1 when the broker does not list it.
    """
    told = answer(target(url), f"explain/{symbol}", needs=("instrument", "state", "owners"))
    typer.echo(json.dumps(told) if as_json else "\n".join(lines(told)))


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Return the answer of /explain as lines for people."""
    yield f"{told['instrument']} is {told['state']}. {told['why']}"
    if not told["owners"]:
        return
    for owner in told["owners"]:
        yield f"wanted by:    {_owner(owner)}"
    yield f"mode:         {told['mode']}, the highest that anybody wants; priority {told['priority']}"
    if told.get("route"):  # there are several accounts
        yield f"account:      {told['account'] or 'none serves it'}"
    yield from map(_connection, told["connections"])
    age, pause = told["last_tick_age_seconds"], told["usual_pause_seconds"]
    usual = f"; usually there are up to {pause:.1f} s between two" if pause else ""
    yield f"last tick:    {_since(age)}{usual}"
    if told["gap"] is not None:
        yield f"open gap:     {_gap(told['gap'])}"
    book = told.get("deep_book")
    if book is not None:
        yield f"{book['levels']} levels:    {book['state']}. {book['why']}"
        if book["connections"]:
            yield from map(_connection, book["connections"])
            yield f"last book:    {_since(book['last_tick_age_seconds'])}"
        if book["gap"] is not None:
            yield f"open gap:     {_gap(book['gap'])}"


def _connection(told: Mapping[str, Any]) -> str:
    fault = f"; last fault: {told['last_fault']}" if told["last_fault"] else ""
    return (
        f"connection:   {told['name']} ({told['role']}), which is {told['state']},"
        f" has it {told['symbol_state']}{fault}"
    )


def _since(age: float | None) -> str:
    return "none yet" if age is None else f"{age:.1f} s ago"


def _gap(gap: Mapping[str, Any]) -> str:
    since = datetime.fromtimestamp(gap["from"] / 1000, UTC).astimezone().strftime("%d %b %H:%M:%S %Z")
    filled = ", a snapshot was delivered since" if gap["filled"] else ""
    return f"since {since}: {gap['reason']}{filled}"


def _owner(owner: Mapping[str, Any]) -> str:
    modes = f"({', '.join(owner['modes'])})"
    if owner["since_ms"] is None:
        return f"no client that is connected {modes}"
    return f"client-{owner['client']} {modes}, {who(owner)}"
