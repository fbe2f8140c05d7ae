"""One turn of a program that decodes; both sides are timed by this."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Message = TypeVar("Message", bytes, memoryview)


def cpu_of(decode: Callable[[Message], object], messages: Sequence[Message]) -> float:
    """Return the seconds of CPU in which all messages are decoded.

    All of them are decoded unmeasured before: while the other program had its turn this one has slept, which
    costs the first few milliseconds after it a quarter, or in some turns as much again.
    """
    for message in messages:
        decode(message)
    started = time.process_time()
    for message in messages:
        decode(message)
    return time.process_time() - started
