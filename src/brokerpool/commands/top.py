"""`brokerpool top`: the running gateway's connections, live."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from brokerpool.commands.gateway_request import RefusedByGateway, answer
from brokerpool.commands.gateway_target import Target, Url, target
from brokerpool.commands.keyboard import NextKey, keys
from brokerpool.commands.top_table import ConnectionTable
from brokerpool.errors import BrokerpoolError

_NEEDS = ("websocket", "http", "health")
_KEYS = "c: sort by the next column   q: quit"


def top(
    url: Url = None,
    interval: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Show the connections of a running gateway or feed node, live: c sorts by the next column, q quits.

    Where stdout is no terminal, or one that cannot be redrawn, it prints once.
    """
    console, asked = Console(), target(url)
    ranking = ConnectionTable()
    ranking.take(answer(asked, "stats", needs=_NEEDS), time.monotonic())
    if not console.is_terminal or console.is_dumb_terminal or not sys.stdin.isatty():
        console.print(ranking.view())
        return
    with keys() as next_key, Live(console=console, screen=True) as live:
        _watch(asked, interval, ranking, live, next_key)


def _watch(asked: Target, interval: float, ranking: ConnectionTable, live: Live, next_key: NextKey) -> None:
    """Draw until somebody quits; a gateway that is away is told, and looked for again."""
    note = _KEYS
    while True:
        live.update(ranking.view(f"sorted by {ranking.order}   {note}"), refresh=True)
        key = next_key(interval)
        if key == "q":
            return
        if key == "c":
            ranking.turn()
            continue
        try:
            ranking.take(answer(asked, "stats", needs=_NEEDS), time.monotonic())
            note = _KEYS
        except (BrokerpoolError, RefusedByGateway):
            at = time.strftime("%H:%M:%S")
            note = f"No answer from {asked.url} at {at}: these are the last numbers.   {_KEYS}"
