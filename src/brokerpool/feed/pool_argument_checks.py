"""What a pool is made of, checked whole before anything is made of it."""

from __future__ import annotations

from typing import cast

from brokerpool import argument_checks
from brokerpool.brokers.account import Account
from brokerpool.brokers.capacity import Capacity
from brokerpool.egress import Egress
from brokerpool.feed.gap_snapshots import Filler
from brokerpool.feed.placement import POLICIES
from brokerpool.market_calendar import MarketHours

#: What tells the connections of the second copy of everything, and of further ones, from those of the first.
COPIES = "bcdefgh"
#: The feed of a pool for which none was given, so that the error can say what to write.
NO_FEED = cast("Account", None)

_FEED = ("name", "limits", "book", "login", "endpoint", "refused", "wire", "tells_orders")


def check(
    feed: Account,
    *,
    max_symbols: int,
    max_connections: int,
    redundancy: int,
    linger: float,
    grace: float,
    placement: str,
) -> Capacity:
    """Return what a pool of these may carry: what the broker publishes, and no more than the sizes.

    Raises TypeError and ValueError, which say what is right.
    """
    if feed is NO_FEED or not all(hasattr(feed, name) for name in _FEED):
        what = "None" if feed is None else f"a {type(feed).__name__}"
        raise TypeError(
            f"a pool needs the feed of a broker's account, and this is {what}; write"
            " WebSocketPool(ZerodhaFeed(api_key, access_token, book=await fetch_instruments()),"
            " max_symbols=1000, max_connections=3)"
        )
    if placement not in POLICIES:
        raise ValueError(f"placement {placement!r} is none of {', '.join(POLICIES)}")
    argument_checks.whole("max_symbols", max_symbols, 1)
    argument_checks.whole("max_connections", max_connections, 1)
    argument_checks.whole("redundancy", redundancy, 1, 1 + len(COPIES))
    capacity = feed.limits.capacity.lowered(max_symbols, max_connections)
    if redundancy > capacity.sockets:
        raise ValueError(f"{capacity.sockets} connections cannot carry {redundancy} copies of a symbol")
    argument_checks.seconds("linger", linger)
    argument_checks.seconds("grace", grace)
    return capacity


def check_parts(hours: MarketHours, filler: Filler | None, egress: Egress | None) -> None:
    """Return where these are what a pool asks. Raises TypeError."""
    if not callable(getattr(hours, "is_open", None)):  # a calendar of the user's own will do
        argument_checks.instance("hours", hours, MarketHours)
    if filler is not None:
        argument_checks.instance("filler", filler, Filler)
    if egress is not None:
        argument_checks.instance("egress", egress, Egress)
