"""Why Dhan ends a socket, as its last packet says; pure."""

from __future__ import annotations

from brokerpool.brokers.wire import Farewell

#: DhanHQ v2 documentation, annexure, "data API error" (looked up 2026-11-29); what ends sockets.
_REASONS = {
    800: "internal server error",
    804: "more instruments than a socket may carry",
    805: "more sockets than the account may have",
    806: "the account has not subscribed to the data APIs",
    807: "the access token has expired",
    808: "the client id or the access token is not valid",
    809: "the access token is not valid",
    810: "the client id is not valid",
    814: "the request is not valid",
}
_EVICTED = 805
#: What another dial with the same login cannot better.
_OF_THE_LOGIN = frozenset((806, 807, 808, 809, 810))


def farewell(reason: int) -> Farewell:
    """Return what a reason means for the next dial."""
    if reason == _EVICTED:
        return Farewell.EVICTED
    return Farewell.CREDENTIALS if reason in _OF_THE_LOGIN else Farewell.LOST


def words(reason: int) -> str:
    """Return a reason for people."""
    text = _REASONS.get(reason, "no reason that is documented")
    return f"Dhan ends the socket with {reason}: {text}"
