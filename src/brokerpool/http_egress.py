"""What aiohttp's errors say of the way out; apart from it, so that a feed alone does without aiohttp."""

from __future__ import annotations

import aiohttp

from brokerpool.egress import Egress


def fault(egress: Egress, url: str, error: BaseException) -> str | None:
    """Say why no connection came about, when the proxy or the source address has a part in it."""
    refused = error.status if isinstance(error, aiohttp.ClientHttpProxyError) else None
    away = isinstance(error, aiohttp.ClientProxyConnectionError)
    return egress.fault(url, error, refused=refused, proxy_away=away)
