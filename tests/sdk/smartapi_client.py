"""Runs the official smartapi-python in a process of its own, with an environment of its own.

Reads commands from stdin, one JSON array a line, and answers each with one line of JSON on stdout. The first
line gives the addresses and credentials. It writes its logs into the folder in which it is started.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from typing import Any

import logzero
import pyotp
from SmartApi.smartConnect import SmartConnect
from SmartApi.smartWebSocketV2 import SmartWebSocketV2

DEADLINE = 20.0


class Client:
    """The client's feed and its HTTP client, and what they told."""

    def __init__(
        self, ws_url: str, http_url: str, api_key: str, access_token: str, client_code: str, feed_token: str
    ) -> None:
        SmartWebSocketV2.ROOT_URI = ws_url
        self._login = (access_token, api_key, client_code, feed_token)
        self._news = threading.Condition()
        self._ticks: list[dict[str, Any]] = []
        self._connected = False
        self._feed = SmartWebSocketV2(*self._login, max_retry_attempt=0)
        self._feed.on_open = self._on_open
        self._feed.on_data = self._on_data
        self._http = SmartConnect(api_key, access_token=access_token, root=http_url)

    # -- commands -----------------------------------------------------------------------------------------

    def connect(self, modes: dict[str, list[dict[str, Any]]]) -> None:
        """Dial, and subscribe to the token list of each mode."""
        self._modes = modes
        threading.Thread(target=self._feed.connect, daemon=True).start()
        self._wait(lambda: self._connected)

    def ticks(self, count: int) -> list[dict[str, Any]]:
        """Return the first `count` ticks once they have come."""
        self._wait(lambda: len(self._ticks) >= count)
        return self._ticks

    def subscribe(self, mode: int, tokens: list[dict[str, Any]]) -> None:
        """Subscribe to more."""
        self._feed.subscribe("more", mode, tokens)

    def dial_again(self, access_token: str) -> list[str]:
        """Dial a further socket, and return what the client was told of its failure."""
        failures: list[str] = []
        feed = SmartWebSocketV2(access_token, *self._login[1:], max_retry_attempt=0)
        told = feed._on_error

        def failed(ws: Any, error: Exception) -> None:
            failures.append(str(error))
            told(ws, error)

        feed._on_error = failed
        feed.on_error = lambda *error: None
        thread = threading.Thread(target=feed.connect, daemon=True)
        thread.start()
        thread.join(DEADLINE)
        return failures

    def http(self, name: str, *arguments: Any) -> Any:
        """Call a method of the HTTP client; its error is returned by name."""
        try:
            return getattr(self._http, name)(*arguments)
        except Exception as error:
            return [type(error).__name__, str(error)]

    def log_in(self, client_code: str, pin: str, totp_secret: str, now: int) -> Any:
        """Log in with client code, PIN and the one-time code of a moment."""
        return self._http.generateSession(client_code, pin, pyotp.TOTP(totp_secret).at(now))

    # -- inside -------------------------------------------------------------------------------------------

    def _wait(self, condition: Any) -> None:
        with self._news:
            if not self._news.wait_for(condition, DEADLINE):
                raise TimeoutError(f"{len(self._ticks)} ticks")

    def _on_open(self, ws: Any) -> None:
        for mode, tokens in self._modes.items():
            self._feed.subscribe(f"mode{mode}", int(mode), tokens)
        with self._news:
            self._connected = True
            self._news.notify()

    def _on_data(self, ws: Any, tick: dict[str, Any]) -> None:
        with self._news:
            self._ticks.append(tick)
            self._news.notify()


def main() -> None:
    logzero.loglevel(logging.CRITICAL)
    client = Client(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answer = getattr(client, name)(*arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
