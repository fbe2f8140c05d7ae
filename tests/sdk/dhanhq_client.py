"""Runs the official dhanhq SDK in a process of its own, whose packages are not ours.

Reads commands from stdin, one JSON array a line, and answers each with one line of JSON on stdout. The first
line gives the addresses and credentials.
"""

from __future__ import annotations

import io
import json
import sys
import threading
from typing import Any

from dhanhq import DhanContext, DhanHTTP, FullDepth, MarketFeed, dhanhq
from dhanhq.dhanhq import Security

DEADLINE = 20.0
#: What the SDK prints.
PRINTED = io.StringIO()
TICKS = ("Ticker Data", "Quote Data", "Full Data")


class Depth(FullDepth):  # type: ignore[misc]  # the client has no types
    """The SDK's 20-level depth, which keeps both sides of each book as its parser hands them out."""

    def __init__(self, context: DhanContext, instruments: list[tuple[int, str]]) -> None:
        super().__init__(context, instruments)
        self.sides: list[dict[str, Any]] = []
        self.on_ticks = lambda book: None

    def process_data(self, data: bytes) -> dict[str, Any] | None:
        side: dict[str, Any] | None = super().process_data(data)
        if side is not None:
            self.sides.append({name: side[name] for name in side if name != "remaining_data"})
        return side


class Client:
    """The SDK's feed and HTTP client, and what they told."""

    def __init__(self, ws_url: str, http_url: str, list_url: str, client_id: str, access_token: str) -> None:
        MarketFeed.market_feed_wss = ws_url
        FullDepth.depth_20_feed_wss = f"{ws_url}twentydepth"
        DhanHTTP.API_BASE_URL = http_url
        Security.COMPACT_CSV_URL = list_url
        self._client_id = client_id
        self._context = DhanContext(client_id, access_token)
        self._http = dhanhq(self._context)
        self._news = threading.Condition()
        self._messages: list[dict[str, Any]] = []
        self._ticks = 0
        self._closes = 0
        self._connected = False
        self._depths: list[Depth] = []

    # -- commands -----------------------------------------------------------------------------------------

    def connect(self, instruments: list[tuple[int, str, int]]) -> None:
        """Dial, and subscribe to every instrument: segment, security id, and request code."""
        self._feed = MarketFeed(
            self._context,
            [tuple(each) for each in instruments],
            on_connect=self._on_connect,
            on_message=self._on_message,
            on_close=self._on_close,
            on_error=lambda feed, error: None,
        )
        self._feed.start()
        self._wait(lambda: self._connected)

    def messages(self, ticks: int) -> list[dict[str, Any]]:
        """Return all that came, once there are so many ticks among it."""
        self._wait(lambda: self._ticks >= ticks)
        with self._news:
            return list(self._messages)

    def subscribe(self, instruments: list[tuple[int, str, int]]) -> None:
        """Subscribe to more, and wait until the broker ends the socket for it."""
        closes = self._closes
        self._feed.subscribe_symbols([tuple(each) for each in instruments])
        self._wait(lambda: self._closes > closes)

    def closed(self) -> str:
        """Return what the SDK printed, once the broker has ended the socket."""
        self._wait(lambda: self._closes)
        return PRINTED.getvalue()

    def dial_again(self, access_token: str) -> str:
        """Dial a further socket with another token, and return what the SDK printed when it was ended."""
        closes = self._closes
        feed = MarketFeed(
            DhanContext(self._client_id, access_token),
            [],  # a request that meets the end of the socket would keep it from reading why
            on_close=self._on_close,
            on_error=lambda feed, error: None,
        )
        feed.start()
        self._wait(lambda: self._closes > closes)
        return self.closed()

    def open_depth(self, instruments: list[tuple[int, str]]) -> None:
        """Dial a socket for the 20-level depth, and subscribe to all: segment and security id."""
        depth = Depth(self._context, [(segment, number) for segment, number in instruments])
        depth.run_forever()
        self._depths.append(depth)

    def depth(self, socket: int, books: int) -> list[dict[str, Any]]:
        """Return the sides of a socket's books, once there are so many."""
        depth = self._depths[socket]
        while len(depth.sides) < 2 * books:
            depth.get_data()
        return depth.sides

    def depth_ended(self, socket: int) -> str:
        """Return what the SDK printed, once it has read the last packet of a socket that the broker ends."""
        depth = self._depths[socket]
        while not depth.on_close:
            depth.get_data()
        return PRINTED.getvalue()

    def http(self, name: str, *arguments: Any) -> Any:
        """Call a method of the HTTP client."""
        return getattr(self._http, name)(*arguments)

    def list(self, filename: str) -> list[dict[str, Any]]:
        """Return the instrument list's rows, as the SDK reads them with pandas."""
        frame = Security.fetch_security_list("compact", filename)
        rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records"))
        return rows

    # -- inside -------------------------------------------------------------------------------------------

    def _wait(self, condition: Any) -> None:
        with self._news:
            if not self._news.wait_for(condition, DEADLINE):
                raise TimeoutError(f"{self._ticks} ticks, {self._closes} closes")

    def _on_connect(self, feed: MarketFeed) -> None:
        with self._news:
            self._connected = True
            self._news.notify()

    def _on_message(self, feed: MarketFeed, message: dict[str, Any] | None) -> None:
        with self._news:
            if message is not None:
                self._messages.append(message)
                self._ticks += message["type"] in TICKS
            self._news.notify()

    def _on_close(self, feed: MarketFeed) -> None:
        feed._running = False  # else it dials again and again
        with self._news:
            self._closes += 1
            self._news.notify()


def main() -> None:
    answers, sys.stdout = sys.stdout, PRINTED
    client = Client(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answers.write(json.dumps(getattr(client, name)(*arguments)) + "\n")
        answers.flush()


main()
