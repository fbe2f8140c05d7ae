"""Who listens to which instrument on the simulated broker; pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from brokerpool.ticks import Mode

Listener = TypeVar("Listener", bound=Hashable)


class Audience(Generic[Listener]):
    """Who listens to which token in which mode, and how many tokens are served more than once."""

    def __init__(self) -> None:
        self.listeners: dict[int, dict[Listener, Mode]] = {}
        #: Tokens that several sockets carry now: a pool that works has none.
        self.duplicates = 0
        self.peak_duplicates = 0

    def put(self, token: int, listener: Listener, mode: Mode) -> None:
        """Let the listener have the token in this mode."""
        present = self.listeners.setdefault(token, {})
        if listener not in present and len(present) == 1:
            self.duplicates += 1
            self.peak_duplicates = max(self.peak_duplicates, self.duplicates)
        present[listener] = mode

    def remove(self, token: int, listener: Listener) -> None:
        """Take the token away from the listener."""
        present = self.listeners.get(token, {})
        if present.pop(listener, None) is None:
            return
        if len(present) == 1:
            self.duplicates -= 1
        elif not present:
            del self.listeners[token]
