"""Who may ask, and how often: the key in constant time, and a moving window for each address; pure."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus

from brokerpool.errors import ErrorCode
from brokerpool.gateway.rest.failures import RequestRefusedError
from brokerpool.http.window import SlidingSum

#: Addresses whose requests are remembered; the one that was silent longest is forgotten first.
MAX_ADDRESSES = 10_000


class Door:
    """Lets requests with the right key in, at most so many of each address in any window.

    Requests that are turned away count by themselves: however many wrong keys an address tries, they take
    nothing from those of its programs that have the right one.
    """

    def __init__(self, api_key: str, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._digest = _digest(api_key)
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._visits: OrderedDict[tuple[str, bool], SlidingSum] = OrderedDict()

    def admit(self, address: str, key: str) -> None:
        """Return for a request that may be answered.

        Raises RequestRefusedError: 403 for a wrong key, 429 for one request too many.
        """
        if not hmac.compare_digest(_digest(key), self._digest):
            self.turn_away(address)
            raise RequestRefusedError(
                HTTPStatus.FORBIDDEN, "The API key is wrong.", code=ErrorCode.AUTHENTICATION_ERROR
            )
        self._count(address, known=True)

    def turn_away(self, address: str) -> None:
        """Count a request that is not answered. Raises RequestRefusedError (429) for one too many."""
        self._count(address, known=False)

    def _count(self, address: str, *, known: bool) -> None:
        now = self._clock()
        visits = self._visits.get((address, known))
        if visits is None:
            visits = self._visits[address, known] = SlidingSum(self._seconds)
            if len(self._visits) > MAX_ADDRESSES:
                self._visits.popitem(last=False)
        self._visits.move_to_end((address, known))
        if visits.total(now) >= self._most:
            raise RequestRefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self._most} requests came from {address} within {self._seconds:g} s.",
                code=ErrorCode.API_RATE_LIMIT_REACHED,
                retry_after=max(1, math.ceil(visits.frees(1, now))),
            )
        visits.add(1, now)


def _digest(key: str) -> bytes:
    # Of one length for every key, so that the comparison tells nothing of it, not even its length.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
