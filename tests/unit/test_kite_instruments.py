"""Kite's instrument list under OpenAlgo's names: all usable rows, quickly; the loop is never held up."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate

import pytest
from aiohttp import web

from brokerpool.brokers.zerodha import fetch_instruments, load_instruments
from brokerpool.brokers.zerodha.symbols import openalgo_instrument
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Details, Instrument, TokenBook
from tests.list_slices import reading
from tests.recordings import recorded

HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,"
    "instrument_type,segment,exchange\n"
)
INFY = "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE\n"


def load(dump: str | bytes):
    return asyncio.run(load_instruments(dump.encode() if isinstance(dump, str) else dump))


def big_dump(rows: int) -> bytes:
    lines = (
        f'{n << 8 | 2},{n},NIFTY25APR{n}CE,"NIFTY",0,2025-04-24,{n}.0,0.05,75,CE,NFO-OPT,NFO'
        for n in range(1, rows + 1)
    )
    return (HEADER + "\n".join(lines) + "\n").encode()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("INFY,INFOSYS,,0,EQ,NSE,NSE", "NSE:INFY"),
        ("M&M,MAHINDRA & MAHINDRA,,0.0,EQ,NSE,NSE", "NSE:M&M"),
        ("CENTRALBK-BE,CENTRAL BANK OF INDIA,,0.0,EQ,NSE,NSE", "NSE:CENTRALBK-BE"),
        ("DEN,DEN NETWORKS,,0.0,EQ,BSE,BSE", "BSE:DEN"),
        ("NIFTY25APRFUT,NIFTY,2025-04-24,0,FUT,NFO-FUT,NFO", "NFO:NIFTY24APR25FUT"),
        ("NIFTY25APR24500CE,NIFTY,2025-04-24,24500,CE,NFO-OPT,NFO", "NFO:NIFTY24APR2524500CE"),
        ("VEDL24APR292.5CE,VEDL,2024-04-25,292.5,CE,NFO-OPT,NFO", "NFO:VEDL25APR24292.5CE"),
        ("BAJAJ-AUTO25JAN9000PE,BAJAJ-AUTO,2025-01-30,9000.0,PE,NFO-OPT,NFO", "NFO:BAJAJ-AUTO30JAN259000PE"),
        ("SENSEX25APRFUT,SENSEX,2025-04-29,0.0,FUT,BFO-FUT,BFO", "BFO:SENSEX29APR25FUT"),
        ("USDINR24MAYFUT,USDINR,2024-05-10,0,FUT,CDS-FUT,CDS", "CDS:USDINR10MAY24FUT"),
        ("USDINR24APR82.25CE,USDINR,2024-04-19,82.2500,CE,CDS-OPT,CDS", "CDS:USDINR19APR2482.25CE"),
        ("CRUDEOILM24MAYFUT,CRUDEOILM,2024-05-20,0,FUT,MCX-FUT,MCX", "MCX:CRUDEOILM20MAY24FUT"),
        # An empty name: the underlying is what stands before the expiry, monthly or weekly.
        ("BANKNIFTY18JAN23500CE,,2018-01-25,23500.0,CE,NFO-OPT,NFO", "NFO:BANKNIFTY25JAN1823500CE"),
        ("NIFTY2542424500PE,,2025-04-24,24500.0,PE,NFO-OPT,NFO", "NFO:NIFTY24APR2524500PE"),
        ("NIFTY25O0725000PE,,2025-10-07,25000,PE,NFO-OPT,NFO", "NFO:NIFTY07OCT2525000PE"),
        ("GOLD25DECFUT,,2025-12-05,0,FUT,MCX-FUT,MCX", "MCX:GOLD05DEC25FUT"),
        ("NIFTY 50,NIFTY 50,,0,EQ,INDICES,NSE", "NSE_INDEX:NIFTY"),
        ("NIFTY BANK,NIFTY BANK,,0,EQ,INDICES,NSE", "NSE_INDEX:BANKNIFTY"),
        ("NIFTY FIN SERVICE,NIFTY FIN SERVICE,,0,EQ,INDICES,NSE", "NSE_INDEX:FINNIFTY"),
        ("NIFTY NEXT 50,NIFTY NEXT 50,,0,EQ,INDICES,NSE", "NSE_INDEX:NIFTYNXT50"),
        ("NIFTY MID SELECT,NIFTY MID SELECT,,0,EQ,INDICES,NSE", "NSE_INDEX:MIDCPNIFTY"),
        ("INDIA VIX,INDIA VIX,,0,EQ,INDICES,NSE", "NSE_INDEX:INDIAVIX"),
        ("NIFTY 100,NIFTY 100,,0,EQ,INDICES,NSE", "NSE_INDEX:NIFTY100"),
        ("HANGSENG BEES-NAV,HANGSENG BEES-NAV,,0,EQ,INDICES,NSE", "NSE_INDEX:HANGSENGBEESNAV"),
        ("SENSEX,SENSEX,,0,EQ,INDICES,BSE", "BSE_INDEX:SENSEX"),
        ("SNSX50,SENSEX 50,,0,EQ,INDICES,BSE", "BSE_INDEX:SENSEX50"),
        ("MCXBULLDEX,MCXBULLDEX,,0,EQ,INDICES,MCX", "MCX_INDEX:MCXBULLDEX"),
        ("GIFT NIFTY,GIFT NIFTY,,0,EQ,INDICES,NSEIX", "GLOBAL_INDEX:GIFTNIFTY"),
    ],
)
def test_rows_get_the_names_of_openalgo(row, expected):
    assert str(openalgo_instrument(*row.split(","))) == expected


@pytest.mark.parametrize(
    "row",
    [
        ",INFOSYS,,0,EQ,NSE,NSE",
        "INFY,INFOSYS,,0,EQ,NSE,MARS",
        "NIFTY25APRFUT,NIFTY,,0,FUT,NFO-FUT,NFO",
        "NIFTY25APRFUT,NIFTY,2025-04-31,0,FUT,NFO-FUT,NFO",
        "NIFTY25APR24500CE,NIFTY,2025-04-24,,CE,NFO-OPT,NFO",
        "NIFTY25APR24500CE,NIFTY,2025-04-24,0,CE,NFO-OPT,NFO",
        "NIFTY25APR24500CE,NIFTY,2025-04-24,nan,CE,NFO-OPT,NFO",
        "24APRFUT,,2024-04-25,0,FUT,NFO-FUT,NFO",
        "SOMETHINGELSE,,2024-04-25,0,FUT,NFO-FUT,NFO",
    ],
)
def test_a_row_that_names_nothing_is_refused(row):
    with pytest.raises(ValueError, match=r"."):
        openalgo_instrument(*row.split(","))


def test_bad_rows_are_counted_and_the_others_kept():
    rows = [
        "\n",
        "408321,1595,SECOND,,0,,0,0.05,1,EQ,NSE,NSE\r\n",
        "x,1,BAD,,0,,0,0.05,1,EQ,NSE,NSE\n",
        "0,1,BAD,,0,,0,0.05,1,EQ,NSE,NSE\n",
        "4294967296,1,BAD,,0,,0,0.05,1,EQ,NSE,NSE\n",
        "too,short\n",
        '408577,1596,"unclosed\n',
        "\ufffd,\0,\n",
        "y" * 200_000 + "\n",
        "408833,1597,LAST,,0,,0,0.05,1,EQ,NSE,NSE",
    ]
    loaded = load(HEADER + INFY + "".join(rows))
    assert {str(i): loaded.book.token(i) for i in loaded.book} == {
        "NSE:INFY": 408065,
        "NSE:SECOND": 408321,
        "NSE:LAST": 408833,
    }
    assert loaded.skipped >= 6


def test_columns_are_found_by_name_and_a_byte_order_mark_is_no_part_of_the_first():
    names = "exchange,segment,lot_size,tick_size,instrument_type,strike,expiry,name,tradingsymbol"
    loaded = load(f"\ufeff{names},instrument_token\nNSE,NSE,1,0.05,EQ,0,,INFOSYS,INFY,408065\n")
    assert loaded.book.token(Instrument("NSE", "INFY")) == 408065


def test_what_the_list_says_of_an_instrument_is_kept():
    contract = "1,2,NIFTY25APR24500CE,NIFTY,0,2025-04-24,24500.0,0.05,75,CE,NFO-OPT,NFO\n"
    index = "256265,1001,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE\n"
    book = load(HEADER + INFY + contract + index).book
    assert book.details(Instrument("NSE", "INFY")) == Details("INFY", "NSE", "INFOSYS", "EQ", "", 0, 1, 0.05)
    assert book.details(Instrument("NFO", "NIFTY24APR2524500CE")) == Details(
        "NIFTY25APR24500CE", "NFO", "NIFTY", "CE", "2025-04-24", 24500.0, 75, 0.05
    )
    assert book.details(Instrument("NSE_INDEX", "NIFTY")).broker_symbol == "NIFTY 50"
    assert book.details(Instrument("NSE_INDEX", "NIFTY")).kind == "INDEX"
    assert book.details(Instrument("NSE", "NOPE")) == Details("NOPE", "NSE"), "no list says otherwise"


@pytest.mark.parametrize(
    ("dump", "message"),
    [
        (b"", "no usable row"),
        (HEADER.encode(), "no usable row"),
        ((HEADER + "x,y\n").encode(), "no usable row; 1 could not be read"),
        (b"<html>please log in</html>\n", "no column instrument_token, tradingsymbol, name, expiry"),
        (INFY.encode(), "no column"),
        (b"pSymbol,pExchSeg,pTrdSymbol\n1,nse_cm,INFY-EQ\n", "no column instrument_token"),
        (
            gzip.compress(b"<!doctype html>\n<title>Maintenance</title>\n", mtime=0),
            "no column instrument_token",
        ),
        (gzip.compress(big_dump(1000), mtime=0)[:-20], "cut off after"),
        (b"\x1f\x8b" + b"garbage" * 10, "cannot be unpacked"),
    ],
)
def test_a_list_that_cannot_be_used_is_a_clear_error(dump, message):
    with pytest.raises(BrokerError, match=message) as caught:
        load(dump)
    assert caught.value.code is ErrorCode.BROKER_UNREACHABLE


def test_a_gzip_bomb_is_refused_before_it_unfolds(monkeypatch):
    monkeypatch.setattr("brokerpool.brokers.instrument_list_file.MAX_LIST_BYTES", 1_000_000)
    with pytest.raises(BrokerError, match="more than 1000000 bytes"):
        load(gzip.compress(HEADER.encode() + bytes(50_000_000)))


def test_100_000_packed_rows_are_read_in_slices_of_which_none_is_a_large_part_of_the_whole():
    dump = gzip.compress(big_dump(100_000))

    best = reading(lambda: load_instruments(dump), runs=2)
    print(best)
    assert best.rows == 100_000
    assert best.usual < 1 / 300
    assert best.longest < 1 / 20


def test_a_quote_that_is_never_closed_costs_its_own_row_only():
    good = "".join(f"{n << 8 | 1},{n},S{n},S,0,,0,0.05,1,EQ,NSE,NSE\n" for n in range(1, 301))
    for bad in ('408577,1596,"UNCLOSED,X,0,,0,0.05,1,EQ,NSE,NSE\n', '1,2,A"B,"C,0,,0,0.05,1,EQ,NSE,NSE\n'):
        loaded = load(HEADER + bad + good)
        assert (len(loaded.book), loaded.skipped) == (300, 1)


def test_the_same_row_twice_is_one_and_a_name_or_token_that_is_taken_is_not_given_away():
    again = "409000,1,INFY,SOMETHING ELSE,0,,0,0.05,1,EQ,NSE,NSE\n"
    other = "408065,1594,OTHER,OTHER,0,,0,0.05,1,EQ,NSE,NSE\n"
    loaded = load(HEADER + INFY + INFY + again + other)
    assert [(str(i), loaded.book.token(i)) for i in loaded.book] == [("NSE:INFY", 408065)]
    assert loaded.skipped == 2


def test_the_recorded_lists_load_without_a_bad_row():
    samples = {"instruments_all.csv": 99, "instruments_nse.csv": 99}
    for name, rows in samples.items():
        loaded = load(recorded(f"gokiteconnect/{name}").read_bytes())
        assert (len(loaded.book), loaded.skipped) == (rows, 0), name
    book = load(recorded("gokiteconnect/instruments_all.csv").read_bytes()).book
    assert book.token(Instrument("NFO", "BANKNIFTY25JAN1823500CE")) == 12073986
    assert book.token(Instrument("BSE", "COX&KINGS")) == 136484868


def fetch_from(answer: Callable[[web.Request], Awaitable[web.StreamResponse]], timeout: float = 5.0):
    """Fetch the list from a real server on loopback that answers so."""

    async def run() -> TokenBook:
        app = web.Application()
        app.router.add_get("/instruments", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            return await fetch_instruments(f"http://127.0.0.1:{port}/", timeout=timeout)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


@pytest.mark.parametrize("encoding", ["identity", "gzip", "file"])
def test_the_list_is_fetched_plain_compressed_or_as_a_gzip_file(encoding, caplog):
    seen: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        seen.update(request.headers)
        body = (HEADER + INFY + "bad,row\n").encode()
        headers = {"Content-Encoding": "gzip"} if encoding == "gzip" else {}
        return web.Response(body=body if encoding == "identity" else gzip.compress(body), headers=headers)

    book = fetch_from(answer)
    assert book.token(Instrument("NSE", "INFY")) == 408065
    assert seen["X-Kite-Version"] == "3"
    assert "1 rows of the list could not be used" in caplog.text


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, ErrorCode.BROKER_REFUSED_CREDENTIALS),
        (401, ErrorCode.BROKER_REFUSED_CREDENTIALS),
        (429, ErrorCode.BROKER_UNREACHABLE),
        (503, ErrorCode.BROKER_UNREACHABLE),
    ],
)
def test_an_http_refusal_is_told_with_its_status(status, code):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    with pytest.raises(BrokerError, match=f"answered HTTP {status}") as caught:
        fetch_from(answer)
    assert caught.value.code is code


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_that_asks_to_be_left_alone_is_understood_in_either_form(form):
    async def answer(request: web.Request) -> web.Response:
        now = time.time() - 300  # its clock is five minutes slow
        headers = {"Date": formatdate(now, usegmt=True), "Retry-After": "40"}
        if form == "date":
            headers["Retry-After"] = formatdate(now + 40, usegmt=True)
        return web.Response(status=503, headers=headers)

    with pytest.raises(BrokerError, match="left alone for 40 s") as caught:
        fetch_from(answer)
    assert caught.value.retry_after == pytest.approx(40, abs=1)


def test_a_server_that_never_finishes_is_given_up_in_time():
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in itertools.count():
            await response.write(INFY.encode())
            await asyncio.sleep(0.05)
        return response

    started = time.perf_counter()
    with pytest.raises(BrokerError, match=r"within 0\.3 s") as caught:
        fetch_from(answer, timeout=0.3)
    assert caught.value.code is ErrorCode.BROKER_UNREACHABLE
    assert time.perf_counter() - started < 3


def test_an_answer_that_breaks_off_and_a_closed_port_are_clear_errors():
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(HEADER.encode())
        assert request.transport is not None
        request.transport.abort()
        return response

    with pytest.raises(BrokerError, match="did not deliver its instrument list"):
        fetch_from(answer)
    with pytest.raises(BrokerError, match="did not deliver its instrument list"):
        asyncio.run(fetch_instruments("http://127.0.0.1:1"))


def test_an_address_with_a_password_keeps_it_out_of_the_error():
    with pytest.raises(BrokerError) as caught:
        asyncio.run(fetch_instruments("http://user:hunter2@127.0.0.1:1"))
    assert "hunter2" not in str(caught.value)
