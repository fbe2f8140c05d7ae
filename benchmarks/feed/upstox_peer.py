"""The official upstox-python-sdk: its parser up to its user's callback, and its client as users run it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sized
from typing import Any

import upstox_client
from upstox_client.feeder import market_data_feeder_v3 as feeder


def _streamer(told: Callable[[dict[str, Any]], None]) -> upstox_client.MarketDataStreamerV3:
    configuration = upstox_client.Configuration()
    configuration.access_token = "token"
    api = upstox_client.ApiClient(configuration)
    api.pool.terminate()  # for calls over HTTP; at the end of the process its client would complain of it
    streamer = upstox_client.MarketDataStreamerV3(api)
    streamer.auto_reconnect(False)
    streamer.on("message", told)
    return streamer


def decode() -> Callable[[bytes], Sized]:
    """Return what its socket library calls for a message; the answer is what its user was called with."""
    messages: list[dict[str, Any]] = []
    streamer = _streamer(messages.append)

    def decoded(message: bytes) -> Sized:
        messages.clear()
        streamer.handle_message(None, message)
        rows: Sized = messages[0]["feeds"]
        return rows

    return decoded


def receive(url: str) -> tuple[int, float]:
    """Receive until the server closes, and return packets and seconds of CPU; websocket-client does it."""
    packets, started = 0, 0.0
    closed = threading.Event()
    inside = feeder.websocket.WebSocketApp
    # The address is a literal in the SDK.
    feeder.websocket.WebSocketApp = lambda _, **options: inside(url, **options)

    def received(message: dict[str, Any]) -> None:
        nonlocal packets
        packets += len(message["feeds"])

    def opened() -> None:
        nonlocal started
        started = time.process_time()

    streamer = _streamer(received)
    streamer.on("open", opened)
    streamer.on("close", lambda *_: closed.set())
    streamer.connect()
    closed.wait()
    return packets, time.process_time() - started
