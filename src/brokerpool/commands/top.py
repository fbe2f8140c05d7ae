"""`brokerpool top`: the running gateway's connections, live."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from brokerpool.commands.ranking import Ranking
from brokerpool.commands.running import DEFAULT_URL, Url, answer
from brokerpool.errors import BrokerpoolError

_KEYS = "c: sort by the next column   q: quit"


def top(
    url: Url = DEFAULT_URL,
    interval: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Show the connections of a running gateway, live: c sorts by the next column, q or Ctrl-C quits.

    Where stdout is no terminal, or one that cannot be redrawn, it prints once.
    """
    console = Console()
    ranking = Ranking()
    ranking.take(answer(url, "stats"), time.monotonic())
    if not console.is_terminal or console.is_dumb_terminal or not sys.stdin.isatty():
        console.print(ranking.view())
        return
    with _interrupts() as interrupts, _single_keys(), Live(console=console, screen=True) as live:
        _watch(url, interval, ranking, live, interrupts)


def _watch(url: str, interval: float, ranking: Ranking, live: Live, interrupts: int) -> None:
    """Draw until somebody quits; a gateway that is away is told, and looked for again."""
    note = _KEYS
    while True:
        live.update(ranking.view(f"sorted by {ranking.order}   {note}"), refresh=True)
        key = _key(interval, interrupts)
        if key == "q":
            return
        if key == "c":
            ranking.turn()
            continue
        try:
            ranking.take(answer(url, "stats"), time.monotonic())
            note = _KEYS
        except BrokerpoolError:
            note = (
                f"No answer from {url} at {time.strftime('%H:%M:%S')}: these are the last numbers.   {_KEYS}"
            )


def _key(seconds: float, interrupts: int) -> str:
    """Return the key that is pressed within so many seconds, "" for none.

    It is "q" for Ctrl-C too, and when the terminal is gone.
    """
    ready, _, _ = select.select([sys.stdin, interrupts], [], [], seconds)
    if interrupts in ready:
        return "q"
    return (os.read(sys.stdin.fileno(), 1).decode("ascii", "ignore") or "q").lower() if ready else ""


@contextlib.contextmanager
def _interrupts() -> Iterator[int]:
    """Give a file descriptor that can be read once Ctrl-C was pressed.

    As an exception it may come at any moment, also in one in which Python can only report it.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    handler = signal.signal(signal.SIGINT, lambda *_: None)
    woken = signal.set_wakeup_fd(writable)
    try:
        yield readable
    finally:
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGINT, handler)
        os.close(readable)
        os.close(writable)


@contextlib.contextmanager
def _single_keys() -> Iterator[None]:
    """Let the terminal hand over each key at once and show none of them; it is put back at the end."""
    try:
        import termios
        import tty
    except ModuleNotFoundError:  # no POSIX terminal: it can be watched, and ended with Ctrl-C
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
