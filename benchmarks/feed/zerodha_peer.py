"""The official kiteconnect: its parser alone, and its client as its documentation runs it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sized
from typing import Any

from kiteconnect import KiteTicker


def decode() -> Callable[[bytes], Sized]:
    """Return the parser, whose answer has one element a packet."""
    parser: Callable[[bytes], Sized] = KiteTicker("key", "token")._parse_binary
    return parser


def receive(url: str) -> tuple[int, float]:
    """Receive until the server closes, and return packets and seconds of CPU; autobahn and Twisted do it."""
    logging.disable()  # it logs a close as an error
    ticker = KiteTicker("key", "token", root=url, reconnect=False)
    packets, started, ended = 0, 0.0, 0.0

    def on_connect(_: KiteTicker, __: object) -> None:
        nonlocal started
        started = time.process_time()

    def on_ticks(_: KiteTicker, ticks: list[dict[str, Any]]) -> None:
        nonlocal packets
        packets += len(ticks)

    def on_close(official: KiteTicker, _: int, __: str) -> None:
        nonlocal ended
        ended = time.process_time()
        official.stop_retry()
        official.stop()

    ticker.on_connect, ticker.on_ticks, ticker.on_close = on_connect, on_ticks, on_close
    ticker.connect()
    return packets, ended - started
