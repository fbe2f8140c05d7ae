"""Runs the official kiteconnect SDK in a process of its own: its Twisted reactor starts once and never again.

Reads commands from stdin, one JSON array a line, and answers each with one line of JSON on stdout. The
first line gives the addresses and credentials.
"""

from __future__ import annotations

import json
import sys
import threading
from datetime import date, datetime
from typing import Any

from kiteconnect import KiteConnect, KiteTicker
from twisted.internet import reactor

DEADLINE = 20.0


class Client:
    """The SDK's ticker and HTTP client, and what they told."""

    def __init__(self, ws_url: str, http_url: str, api_key: str, access_token: str) -> None:
        self._ws_url = ws_url
        self._api_key = api_key
        self._news = threading.Condition()
        self._ticks: list[dict[str, Any]] = []
        self._errors: list[tuple[int, str]] = []
        self._connected = False
        self._http = KiteConnect(api_key, access_token=access_token, root=http_url)
        self._ticker = KiteTicker(api_key, access_token, root=ws_url)
        self._ticker.on_ticks = self._on_ticks
        self._ticker.on_error = self._on_error
        self._ticker.on_connect = self._on_connect

    # -- commands -----------------------------------------------------------------------------------------

    def connect(self, modes: dict[str, list[int]]) -> None:
        """Dial, and subscribe to every token in its mode."""
        self._modes = modes
        self._ticker.connect(threaded=True)
        self._wait(lambda: self._connected)

    def ticks(self, count: int) -> list[dict[str, Any]]:
        """Return the first `count` ticks once they have come."""
        self._wait(lambda: len(self._ticks) >= count)
        return self._ticks

    def subscribe(self, tokens: list[int]) -> tuple[int, str]:
        """Subscribe to more, and return the error that follows."""
        reactor.callFromThread(self._ticker.subscribe, tokens)
        self._wait(lambda: self._errors)
        return self._errors[0]

    def dial_again(self, access_token: str) -> list[object]:
        """Dial a further socket, and return code and reason of its failure."""
        failures: list[list[object]] = []

        def failed(ws: KiteTicker, code: int, reason: str) -> None:
            ws.stop_retry()
            with self._news:
                failures.append([code, reason])
                self._news.notify()

        ticker = KiteTicker(self._api_key, access_token, root=self._ws_url)
        ticker.on_close = failed
        reactor.callFromThread(ticker.connect)
        self._wait(lambda: failures)
        return failures[0]

    def http(self, name: str, *arguments: Any) -> Any:
        """Call a method of the HTTP client; its error is returned by name and code."""
        try:
            return getattr(self._http, name)(*arguments)
        except Exception as error:
            return [type(error).__name__, getattr(error, "code", None), str(error)]

    # -- inside -------------------------------------------------------------------------------------------

    def _wait(self, condition: Any) -> None:
        with self._news:
            if not self._news.wait_for(condition, DEADLINE):
                raise TimeoutError(f"{len(self._ticks)} ticks, errors {self._errors}")

    def _on_connect(self, ws: KiteTicker, response: object) -> None:
        ws.subscribe([token for tokens in self._modes.values() for token in tokens])
        for mode, tokens in self._modes.items():
            ws.set_mode(mode, tokens)
        with self._news:
            self._connected = True
            self._news.notify()

    def _on_ticks(self, ws: KiteTicker, ticks: list[dict[str, Any]]) -> None:
        with self._news:
            self._ticks += ticks
            self._news.notify()

    def _on_error(self, ws: KiteTicker, code: int, reason: str) -> None:
        with self._news:
            self._errors.append((code, reason))
            self._news.notify()


def plain(value: object) -> object:
    """The SDK gives naive local times; the same process turns them back into epoch seconds."""
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{value!r} cannot become JSON")


def main() -> None:
    client = Client(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answer = getattr(client, name)(*arguments)
        sys.stdout.write(json.dumps(answer, default=plain) + "\n")
        sys.stdout.flush()


main()
