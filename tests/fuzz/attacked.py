"""The gateway that is attacked: on a simulated list and HTTP API, with little room for all that comes."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

from brokerpool import Instrument, TokenBook, ZerodhaFeed
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.gateway.assembly import compose
from brokerpool.gateway.server import Gateway
from brokerpool.settings import Settings
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.gateway_client import KEY
from tests.rehearsal import Prompt

#: Small enough to be reached by what a test sends.
MAX_MESSAGE_BYTES = CLIENT_BUFFER_BYTES = 64 * 1024
#: Of two broker connections; so that a few symbols fill the first, and the next one opens the second.
SYMBOLS_PER_CONNECTION = 20


async def gateway_on(simulator: KiteSimulator, ws_url: str, **environ: str) -> Gateway:
    """Start a gateway on the running loop whose pool dials `ws_url`, and dials again without a pause."""
    settings = Settings.load(
        environ={
            "BROKERPOOL_API_KEY": KEY,
            "BROKERPOOL_BROKER_API_KEY": simulator.api_key,
            "BROKERPOOL_BROKER_ACCESS_TOKEN": simulator.access_token,
            "WEBSOCKET_PORT": "0",
            "BROKERPOOL_HTTP_PORT": "0",
            "BROKERPOOL_MAX_MESSAGE_BYTES": str(MAX_MESSAGE_BYTES),
            "BROKERPOOL_CLIENT_BUFFER_BYTES": str(CLIENT_BUFFER_BYTES),
            "MAX_SYMBOLS_PER_WEBSOCKET": str(SYMBOLS_PER_CONNECTION),
            "MAX_WEBSOCKET_CONNECTIONS": "2",
            "API_RATE_LIMIT": "100000 per second",
            "WS_PING_INTERVAL": "3600",  # a line answers no pings
            **environ,
        }
    )
    feed = ZerodhaFeed(
        simulator.api_key,
        simulator.access_token,
        ws_url=ws_url,
        http_url=simulator.http_url,
        book=TokenBook(
            (Instrument(row.exchange, row.tradingsymbol), row.token) for row in simulator.listings
        ),
        limits=replace(FeedLimits.load("brokerpool.brokers.zerodha"), dials=()),
    )
    with patch("brokerpool.feed.pool.Random", Prompt):  # which draws no jitter
        gateway = compose(settings, feed)
    await gateway.start()
    return gateway
