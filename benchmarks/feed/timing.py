"""One turn of a program that decodes; both sides are timed by this."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Message = TypeVar("Message", bytes, memoryview)


def cpu_of(decode: Callable[[Message], object], messages: Sequence[Message]) -> float:
    """Return the seconds of CPU in which all messages are decoded.

    One is decoded unmeasured before: the other program has just had the processor and its caches.
    """
    decode(messages[0])
    started = time.process_time()
    for message in messages:
        decode(message)
    return time.process_time() - started
