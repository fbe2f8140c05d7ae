"""Runs the official upstox-python-sdk in a process and an environment of its own.

Reads commands from stdin, one JSON array a line, and answers each with one line of JSON on stdout. The first
line gives the addresses and the token. The address of the feed is a literal in the SDK: its host is replaced
where the SDK opens its socket, and the SDK follows the redirect by itself.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import upstox_client
from upstox_client.feeder import market_data_feeder_v3 as feeder

DEADLINE = 20.0
LITERAL = "wss://api.upstox.com"


class Client:
    """The SDK's streamer and HTTP client, and what they told."""

    def __init__(self, ws_url: str, http_url: str, access_token: str) -> None:
        self._news = threading.Condition()
        self._messages: list[dict[str, Any]] = []
        self._rows = 0
        self._opened = False
        self._http_url = http_url
        self._api = self._client(access_token)
        inside = feeder.websocket.WebSocketApp

        def app(url: str, **options: Any) -> Any:
            assert url.startswith(LITERAL), url
            return inside(ws_url + url.removeprefix(LITERAL), **options)

        feeder.websocket.WebSocketApp = app

    # -- commands -----------------------------------------------------------------------------------------

    def connect(self, modes: dict[str, list[str]]) -> None:
        """Dial, and subscribe to every key in its mode."""
        streamer = self._streamer = upstox_client.MarketDataStreamerV3(self._api)
        streamer.on("open", self._on_open)
        streamer.on("message", self._on_message)
        streamer.connect()
        self._wait(lambda: self._opened)
        for mode, keys in modes.items():
            streamer.subscribe(keys, mode)

    def change_mode(self, keys: list[str], mode: str) -> None:
        """Change the mode of keys that are subscribed."""
        self._streamer.change_mode(keys, mode)

    def messages(self, rows: int) -> list[dict[str, Any]]:
        """Return the messages, the market's status first, once they have brought so many rows."""
        self._wait(lambda: self._rows >= rows)
        return self._messages

    def dial_again(self, access_token: str) -> str:
        """Dial a further socket, and return what the SDK says of its failure."""
        errors: list[str] = []
        streamer = upstox_client.MarketDataStreamerV3(self._client(access_token))
        streamer.auto_reconnect(False)

        def failed(error: object) -> None:
            with self._news:
                errors.append(str(error))
                self._news.notify()

        streamer.on("error", failed)
        streamer.connect()
        self._wait(lambda: errors)
        return errors[0]

    def http(self, api: str, name: str, arguments: list[Any], options: dict[str, Any]) -> Any:
        """Call a method of the HTTP client; its error is returned by status and body."""
        try:
            answer = getattr(getattr(upstox_client, api)(self._api), name)(*arguments, **options)
        except upstox_client.rest.ApiException as error:
            return [error.status, json.loads(error.body)["errors"][0]["errorCode"]]
        return answer.to_dict()

    # -- inside -------------------------------------------------------------------------------------------

    def _client(self, access_token: str) -> Any:
        configuration = upstox_client.Configuration()
        configuration.access_token = access_token
        configuration.host = self._http_url
        return upstox_client.ApiClient(configuration)

    def _wait(self, condition: Any) -> None:
        with self._news:
            if not self._news.wait_for(condition, DEADLINE):
                raise TimeoutError(f"{self._rows} rows in {len(self._messages)} messages")

    def _on_open(self) -> None:
        with self._news:
            self._opened = True
            self._news.notify()

    def _on_message(self, message: dict[str, Any]) -> None:
        with self._news:
            self._messages.append(message)
            self._rows += len(message.get("feeds", ()))
            self._news.notify()


def main() -> None:
    client = Client(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answer = getattr(client, name)(*arguments)
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


main()
