"""Single keys of a terminal, each within a given time, on POSIX systems and on Windows."""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

#: Returns the key that is pressed within so many seconds, "" for none; it is "q" for Ctrl-C too, and when the
#: terminal is gone.
NextKey: TypeAlias = Callable[[float], str]

_POLL_SECONDS = 0.05


def keys() -> AbstractContextManager[NextKey]:
    """Let the terminal hand over each key at once and show none of them; it is put back at the end."""
    try:
        import termios
    except ModuleNotFoundError:
        return _console()
    return _terminal(termios)


@contextlib.contextmanager
def _terminal(termios: Any) -> Iterator[NextKey]:  # noqa: ANN401  (a module that only POSIX systems have)
    import tty

    def key(seconds: float) -> str:
        ready, _, _ = select.select([sys.stdin, interrupts], [], [], seconds)
        if interrupts in ready:
            return "q"
        return (os.read(sys.stdin.fileno(), 1).decode("ascii", "ignore") or "q").lower() if ready else ""

    with _interrupts() as interrupts:
        before = termios.tcgetattr(sys.stdin)
        try:
            tty.setcbreak(sys.stdin)
            yield key
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


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
def _console() -> Iterator[NextKey]:
    """The console of Windows, which can be asked but not waited for; elsewhere Ctrl-C alone."""
    try:
        console: Any = importlib.import_module("msvcrt")
    except ModuleNotFoundError:
        console = None
    interrupted: list[int] = []

    def key(seconds: float) -> str:
        until = time.monotonic() + seconds
        while not interrupted and time.monotonic() < until:
            if console is not None and console.kbhit():
                pressed = str(console.getwch()).lower()
                return "q" if pressed == "\x03" else pressed
            time.sleep(_POLL_SECONDS)
        return "q" if interrupted else ""

    handler = signal.signal(signal.SIGINT, lambda number, frame: interrupted.append(number))
    try:
        yield key
    finally:
        signal.signal(signal.SIGINT, handler)
