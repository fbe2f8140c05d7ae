"""The instrument list for plain scripts and notebooks, where nobody can await it."""

from __future__ import annotations

from brokerpool.brokers.zerodha.instruments import fetch_instruments as asynchronous
from brokerpool.egress import Egress
from brokerpool.instruments import TokenBook
from brokerpool.sync.loop import LoopThread


def fetch_instruments(
    http_url: str = "https://api.kite.trade", *, timeout: float = 30.0, egress: Egress | None = None
) -> TokenBook:
    """Return the book of today's list, within `timeout` seconds; raises as the asynchronous one.

    Works where a loop runs already, in a cell of a notebook for instance, which it holds up meanwhile.
    """
    loop = LoopThread("the instrument list")
    try:
        return loop.run(asynchronous(http_url, timeout=timeout, egress=egress), timeout)
    finally:
        loop.close()
