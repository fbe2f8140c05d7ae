"""Invented time, for what asks a clock that it was given."""

from __future__ import annotations


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
