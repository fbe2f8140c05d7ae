"""The official dhanhq: its parser alone, and its feed as its documentation runs it."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sized
from typing import Any

from dhanhq import DhanContext, MarketFeed

_length_at = struct.Struct("<H").unpack_from


def decode() -> Callable[[bytes], Sized]:
    """Return the parser, whose answer has one element a packet: it takes one packet, so we cut before it."""
    parser: Callable[[bytes], Any] = MarketFeed(DhanContext("1", "token"), []).process_data

    def decode(message: bytes) -> list[Any]:
        if _length_at(message, 1)[0] == len(message):
            return [parser(message)]
        told, begin = [], 0
        while begin < len(message):
            end = begin + _length_at(message, begin + 1)[0]
            told.append(parser(message[begin:end]))
            begin = end
        return told

    return decode


def receive(url: str) -> tuple[int, float]:
    """Receive until the server closes, and return packets and seconds of CPU; websockets does it."""
    MarketFeed.market_feed_wss = url
    packets, started, ended = 0, 0.0, 0.0

    def on_connect(_: MarketFeed) -> None:
        nonlocal started
        started = time.process_time()

    def on_message(_: MarketFeed, __: dict[str, Any]) -> None:
        nonlocal packets
        packets += 1

    def on_error(feed: MarketFeed, _: Exception) -> None:
        nonlocal ended
        ended = time.process_time()
        feed._running = False

    feed = MarketFeed(
        DhanContext("1", "token"), [], on_connect=on_connect, on_message=on_message, on_error=on_error
    )
    feed.run()
    return packets, ended - started
