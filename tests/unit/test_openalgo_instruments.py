"""OpenAlgo's list, where the server has one, and the key: what it names, whose it is, and what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from brokerpool import BrokerError, Credentials, ErrorCode, Instrument
from brokerpool.brokers.openalgo import OpenAlgoFeed, fetch_instruments, load_instruments
from brokerpool.brokers.openalgo.broker import BROKER
from brokerpool.brokers.registry import Access
from brokerpool.instruments import Details
from tests.small_openalgo import KEY, small_openalgo

ROW = {
    "symbol": "NIFTY24APR25FUT",
    "brsymbol": "NIFTY25APRFUT",
    "name": "NIFTY",
    "exchange": "NFO",
    "brexchange": "NFO",
    "token": "13617666",
    "expiry": "24-APR-25",
    "strike": -1.0,
    "lotsize": 75,
    "instrumenttype": "FUT",
    "tick_size": 0.05,
}


def body(rows: object, space: str = "", **others: Any) -> bytes:
    said = {"status": "success", "message": "all", "data": rows, **others}
    return json.dumps(said, separators=(f",{space}", f":{space}")).encode()


def test_the_list_gives_names_as_tokens_and_what_else_is_known() -> None:
    loaded = asyncio.run(load_instruments(body([ROW])))
    assert loaded.skipped == 0
    (instrument,) = loaded.book
    assert str(instrument) == "NFO:NIFTY24APR25FUT" == loaded.book.token(instrument)
    assert loaded.book.details(instrument) == Details(
        "NIFTY25APRFUT", "NFO", "NIFTY", "FUT", "2025-04-24", 0.0, 75, 0.05, "13617666"
    )


@pytest.mark.parametrize("space", ["", " "])
def test_a_long_list_is_read_in_slices_and_every_row_once(space: str) -> None:
    rows = [{**ROW, "symbol": f"S{n}", "name": 'a "quoted" {name}, with }] in it'} for n in range(3000)]
    turns = 0

    async def main() -> int:
        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        loaded = await load_instruments(body(rows, space, after="it"))
        counting.cancel()
        assert loaded.skipped == 0
        return len(loaded.book)

    assert asyncio.run(main()) == 3000
    assert turns > 30, "the loop had its turn"


def test_rows_that_cannot_be_used_cost_themselves_alone() -> None:
    good = {"symbol": "INFY", "exchange": "NSE"}
    texts = {**ROW, "symbol": "T", "strike": "100.5", "lotsize": "75", "expiry": None, "tick_size": ""}
    del texts["tick_size"]
    rows = [good, 5, None, {"symbol": "X"}, {**good, "exchange": "XYZ"}, {**good, "symbol": ""}, texts]
    loaded = asyncio.run(load_instruments(body(rows)))
    assert sorted(map(str, loaded.book)) == ["NFO:T", "NSE:INFY"]
    assert loaded.skipped == 5
    assert loaded.book.details("NSE:INFY") == Details("INFY", "NSE")
    assert loaded.book.details("NFO:T").strike == 100.5


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"status":"success"}', body([ROW])[:-5], b'{"data":[', b"<html>", b'{"data":5}']
)
def test_what_is_no_list_or_cut_off_is_an_error(text: bytes) -> None:
    with pytest.raises(BrokerError) as raised:
        asyncio.run(load_instruments(text))
    assert raised.value.code is ErrorCode.BROKER_UNREACHABLE


def test_a_server_without_a_list_or_with_an_empty_one_takes_every_name() -> None:
    async def main() -> None:
        async with small_openalgo() as server:
            account = OpenAlgoFeed(KEY, http_url=f"http://{server.url}")
            for without in (True, False):
                server.rows = None if without else []
                book = await account.instruments()
                assert len(book) == 0
                assert book.token("NSE:ANYTHING") == "NSE:ANYTHING"
            server.rows = [ROW]
            account.relist(await account.instruments())
            assert account.book.token("NFO:NIFTY24APR25FUT")
            assert account.book.token("NSE:ANYTHING") is None

    asyncio.run(main())


def test_a_wrong_key_and_a_server_that_is_away_are_told_apart_and_the_key_is_not_shown() -> None:
    async def main() -> None:
        async with small_openalgo() as server:
            server.rows = [ROW]
            with pytest.raises(BrokerError) as refused:
                await fetch_instruments(f"http://{server.url}", "a-wrong-key")
            assert refused.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
            gone = f"http://{server.url}"
        with pytest.raises(BrokerError) as away:
            await fetch_instruments(gone, "a-wrong-key", timeout=5)
        assert away.value.code is ErrorCode.BROKER_UNREACHABLE
        assert "a-wrong-key" not in f"{refused.value} {away.value}"

    asyncio.run(main())


def test_a_key_is_tried_with_one_call_that_tells_the_broker_behind_it() -> None:
    async def main() -> None:
        async with small_openalgo() as server:
            session = BROKER.session(Access(KEY, Credentials(""), http_url=f"http://{server.url}"))
            holder, credentials = await session.tried(KEY)
            assert str(holder) == "dhan (OpenAlgo at 127.0.0.1)"
            assert credentials == Credentials(KEY, None, "dhan")
            assert [endpoint for endpoint, _ in server.calls] == ["ping"]
            assert (await session.tried(""))[1] == credentials, (
                "the account's own key, where no other is given"
            )
            with pytest.raises(BrokerError) as raised:
                await session.tried("a-wrong-key")
            assert raised.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
            # A server without ping is asked for funds.
            server.complaints = [(404, {"message": "no"}), (200, {"status": "success", "data": {}})]
            holder, _ = await session.tried(KEY)
            assert str(holder) == "a user (OpenAlgo at 127.0.0.1)"
            assert KEY not in repr(session)

    asyncio.run(main())


def test_a_login_is_a_key_that_a_page_shows_and_nothing_else() -> None:
    session = BROKER.session(Access(KEY, Credentials(""), http_url="http://10.0.0.5:5000/"))
    assert session.login_address("state") == "http://10.0.0.5:5000/apikey"
    assert session.redirected("a" * 64) is None
    with pytest.raises(ValueError, match="copy the API key"):
        session.redirected("http://10.0.0.5:5000/apikey?x=secret")
    with pytest.raises(BrokerError) as raised:
        asyncio.run(session.exchange("x", "y"))
    assert raised.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
    assert session.until(0.0)


def test_the_list_has_a_bound() -> None:
    async def main() -> None:
        from brokerpool.brokers.http_call import call
        from brokerpool.egress import Egress

        async with small_openalgo() as server:
            server.rows = [ROW] * 100
            with pytest.raises(BrokerError, match="more than 1000 bytes"):
                await call(
                    "GET",
                    f"http://{server.url}/api/v1/instruments",
                    headers={},
                    egress=Egress(),
                    timeout=5,
                    most=1000,
                    params={"apikey": KEY},
                )

    asyncio.run(main())


def test_an_instrument_of_the_list_is_that_of_its_name() -> None:
    book = asyncio.run(load_instruments(body([ROW]))).book
    assert book.instrument("NFO:NIFTY24APR25FUT") == Instrument("NFO", "NIFTY24APR25FUT")
    assert book.instrument("NFO:OTHER") is None
