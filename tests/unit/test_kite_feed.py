"""The Zerodha feed dials with the current credentials and never shows them."""

from __future__ import annotations

import asyncio

import pytest

from brokerpool import Credentials
from brokerpool.brokers.account import Account
from brokerpool.brokers.limits_file import FeedLimits, RateWindow
from brokerpool.brokers.zerodha import KiteWire, ZerodhaFeed
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.transport import DialError, LinkHandler, Refusal, UpgradeRequest, dial, serve

KEY, TOKEN = "key+1/ä&x", "tok=en &?#%41"


def feed(**options: object) -> ZerodhaFeed:
    book = TokenBook([(Instrument("NSE", "INFY"), 408065)])
    return ZerodhaFeed(KEY, TOKEN, book=book, **options)  # type: ignore[arg-type]  # what the test varies


def test_the_feed_is_what_the_pool_expects_of_a_broker():
    zerodha: Account = feed()
    assert zerodha.name == "zerodha"
    assert len(zerodha.book) == 1
    assert isinstance(zerodha.wire(), KiteWire)
    assert zerodha.wire() is not zerodha.wire()


def test_the_limits_are_the_published_ones_unless_others_are_given():
    assert feed().limits == FeedLimits(
        symbols_per_connection=3000,
        max_connections=3,
        batch_size=200,
        control_messages=(RateWindow(10, 0.5),),
        account_messages=(RateWindow(20, 0.5),),
        pings_counted=False,
        dials=(RateWindow(3, 1), RateWindow(30, 60)),
        socket_life_seconds=0,
        silence_seconds=5.0,
        depth_levels=5,
    )
    tight = FeedLimits(1, 1, 1, (RateWindow(1, 1.0),), (), True, (), 60.0, 5.0, 5)
    assert feed(limits=tight).limits == tight


@pytest.mark.parametrize(
    ("ws_url", "expected"),
    [
        ("wss://ws.kite.trade", "wss://ws.kite.trade/?api_key=K&access_token=T"),
        ("ws://127.0.0.1:9000/feed", "ws://127.0.0.1:9000/feed?api_key=K&access_token=T"),
        ("ws://127.0.0.1:9000/?run=7", "ws://127.0.0.1:9000/?run=7&api_key=K&access_token=T"),
    ],
)
def test_the_credentials_stand_in_the_query_of_the_address(ws_url, expected):
    endpoint = asyncio.run(ZerodhaFeed("K", "T", ws_url=ws_url).endpoint())
    assert endpoint.url == expected
    assert endpoint.headers == {"X-Kite-Version": "3", "User-Agent": "brokerpool"}


def test_a_dial_arrives_with_the_current_credentials_whatever_their_characters():
    async def run() -> list[UpgradeRequest]:
        seen: list[UpgradeRequest] = []

        def accept(request: UpgradeRequest) -> LinkHandler | Refusal:
            seen.append(request)
            return Refusal(403)

        server = await serve(accept, "127.0.0.1", 0)
        try:
            zerodha = feed(ws_url=f"ws://127.0.0.1:{server.port}")
            for token in (None, "second"):
                if token is not None:
                    zerodha.login.renew(Credentials(token))
                url, headers = await zerodha.endpoint()
                with pytest.raises(DialError) as caught:
                    await dial(url, LinkHandler(), headers=headers)
                assert caught.value.status == 403
                assert TOKEN not in str(caught.value)
        finally:
            await server.close()
        return seen

    first, second = asyncio.run(run())
    assert first.query == {"api_key": KEY, "access_token": TOKEN}
    assert second.query == {"api_key": KEY, "access_token": "second"}
    assert first.headers["X-Kite-Version"] == "3"
    assert first.headers["User-Agent"] == "brokerpool"


def test_neither_the_feed_nor_its_endpoint_shows_a_secret():
    zerodha = feed(ws_url="ws://user:hunter2@127.0.0.1:9000/")
    endpoint = asyncio.run(zerodha.endpoint())
    for text in (repr(zerodha), str(zerodha), f"{zerodha!r}"):
        assert text == "<ZerodhaFeed 127.0.0.1, 1 instruments>"
    assert "access_token" not in repr(endpoint)
