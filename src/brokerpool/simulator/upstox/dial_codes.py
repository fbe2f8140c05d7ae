"""The addresses of the feed that Upstox gives: each with a code, for one dial; pure."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from urllib.parse import urlencode

#: The path of the feed's own host (Upstox documentation, Market Data Feed V3).
FEED_PATH = "/market-data-feeder/v3/upstox-developer-api/feeds"
#: Codes that wait for their dial; of more the eldest are forgotten.
_MOST_CODES = 1_000


class Addresses:
    """Gives addresses, and takes the code of each once."""

    def __init__(self, ws_url: Callable[[], str]) -> None:
        """`ws_url` tells where the feed listens."""
        self._ws_url = ws_url
        self._codes: dict[str, None] = {}

    def give(self) -> str:
        """Return an address for one dial."""
        code = secrets.token_urlsafe(24)
        self._codes[code] = None
        while len(self._codes) > _MOST_CODES:
            del self._codes[next(iter(self._codes))]
        query = urlencode({"requestId": secrets.token_hex(8), "code": code})
        return f"{self._ws_url().rstrip('/')}{FEED_PATH}?{query}"

    def take(self, path: str, code: str) -> bool:
        """Tell whether a dial has the path and an unused code, which is used with that."""
        if path != FEED_PATH or code not in self._codes:
            return False
        del self._codes[code]
        return True
