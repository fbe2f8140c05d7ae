"""The official smartapi-python: its parser up to its user's callback, and its client as users run it."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Sized
from typing import Any

_BINARY = 2


def _client() -> Any:  # noqa: ANN401  (a class without types)
    # Loading it asks a stranger for the public address here, and it writes logs where it is.
    os.environ["HTTPS_PROXY"] = "http://127.0.0.1:9"
    os.chdir(tempfile.mkdtemp(prefix="smartapi-"))
    logging.disable()
    from SmartApi.smartWebSocketV2 import SmartWebSocketV2

    return SmartWebSocketV2


def decode() -> Callable[[bytes], Sized]:
    """Return what its socket library calls for a message; the answer is what its user was called with."""
    feed = _client()("token", "key", "client", "feed", max_retry_attempt=0)
    ticks: list[dict[str, Any]] = []
    feed.on_data = lambda ws, tick: ticks.append(tick)

    def decoded(packet: bytes) -> Sized:
        ticks.clear()
        feed._on_data(None, packet, _BINARY, True)
        return ticks

    return decoded


def receive(url: str) -> tuple[int, float]:
    """Receive until the server closes, and return packets and seconds of CPU; websocket-client does it."""
    kind = _client()
    kind.ROOT_URI = url
    feed = kind("token", "key", "client", "feed", max_retry_attempt=0)
    packets, started = 0, 0.0

    def opened(ws: object) -> None:
        nonlocal started
        started = time.process_time()

    def received(ws: object, tick: dict[str, Any]) -> None:
        nonlocal packets
        packets += 1

    feed.on_open, feed.on_data = opened, received
    feed.on_error = lambda *told: None
    feed.connect()
    return packets, time.process_time() - started
