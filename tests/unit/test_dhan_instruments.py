"""Dhan's list under OpenAlgo's names: all usable rows of every segment, and nothing given away twice."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from brokerpool.brokers.dhan import fetch_instruments, load_instruments
from brokerpool.brokers.dhan.instruments import DhanDetails
from brokerpool.brokers.dhan.segments import token
from brokerpool.brokers.instrument_list_file import LoadedInstruments
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Instrument, TokenBook

HEADER = (
    "SEM_EXM_EXCH_ID,SEM_SEGMENT,SEM_SMST_SECURITY_ID,SEM_INSTRUMENT_NAME,SEM_EXPIRY_CODE,SEM_TRADING_SYMBOL,"
    "SEM_LOT_UNITS,SEM_CUSTOM_SYMBOL,SEM_EXPIRY_DATE,SEM_STRIKE_PRICE,SEM_OPTION_TYPE,SEM_TICK_SIZE,"
    "SEM_EXPIRY_FLAG,SEM_EXCH_INSTRUMENT_TYPE,SEM_SERIES,SM_SYMBOL_NAME\n"
)
RELIANCE = "NSE,E,2885,EQUITY,0,RELIANCE,1.0,Reliance,,,,10.0000,NA,ES,EQ,RELIANCE INDUSTRIES LTD\n"


def load(rows: str) -> LoadedInstruments:
    return asyncio.run(load_instruments((HEADER + rows).encode()))


# Rows are written as the broker writes them, with instruments of 2026.
@pytest.mark.parametrize(
    ("row", "name", "number"),
    [
        ("NSE,E,2885,EQUITY,0,RELIANCE,1.0,,,,,10.0,NA,ES,EQ,X", "NSE:RELIANCE", token(1, 2885)),
        ("BSE,E,500325,EQUITY,0,RELIANCE,1.0,,,,,5.0,NA,ES,A,X", "BSE:RELIANCE", token(4, 500325)),
        ("NSE,E,31181,EQUITY,0,M&M,1.0,,,,,5.0,NA,ES,EQ,X", "NSE:M&M", token(1, 31181)),
        (
            "NSE,D,58072,FUTIDX,0,NIFTY-Aug2026-FUT,65.0,,2026-08-25 14:30:00,-0.01000,XX,10.0,M,FUT,,",
            "NFO:NIFTY25AUG26FUT",
            token(2, 58072),
        ),
        (
            "NSE,D,45001,OPTIDX,0,NIFTY-Dec2026-24500-CE,65.0,,2026-12-29 14:30:00,24500.00,CE,5.0,M,OP,NA,",
            "NFO:NIFTY29DEC2624500CE",
            token(2, 45001),
        ),
        (
            "NSE,D,7,OPTSTK,0,BAJAJ-AUTO-Sep2026-9000-PE,75.0,,2026-09-29 14:30:00,9000.00,PE,5.0,M,OP,NA,X",
            "NFO:BAJAJ-AUTO29SEP269000PE",
            token(2, 7),
        ),
        (
            "NSE,D,8,OPTSTK,0,VEDL-Sep2026-292.5-CE,2300.0,,2026-09-29 14:30:00,292.50000,CE,5.0,M,OP,NA,",
            "NFO:VEDL29SEP26292.5CE",
            token(2, 8),
        ),
        (
            "BSE,D,1100470,OPTIDX,0,SENSEX-Sep2026-68000-CE,20.0,,2026-09-24,68000.0,CE,5.0,M,OP,NA,BSXOPT",
            "BFO:SENSEX24SEP2668000CE",
            token(8, 1100470),
        ),
        (
            "NSE,C,2885,OPTCUR,0,EURINR-Aug2026-102.75-CE,1.0,,2026-08-01,102.75,CE,0.25,W,CUR OP,,",
            "CDS:EURINR01AUG26102.75CE",
            token(3, 2885),
        ),
        (
            "BSE,C,9,FUTCUR,0,USDINR-Aug2026-FUT,1.0,,2026-08-27 14:30:00,-0.01,XX,0.25,M,FUT,,",
            "BCD:USDINR27AUG26FUT",
            token(7, 9),
        ),
        (
            "MCX,M,571445,FUTCOM,0,GOLDM-05Nov2026-FUT,1.0,,2026-11-05 23:30:00,0.0,XX,100.0,M,FUT,2,X",
            "MCX:GOLDM05NOV26FUT",
            token(5, 571445),
        ),
        (
            "MCX,M,509665,OPTFUT,0,SILVERM-24Aug2026-279000-CE,5.0,,2026-08-24 23:30:00,279000,CE,50,M,OP,,X",
            "MCX:SILVERM24AUG26279000CE",
            token(5, 509665),
        ),
        ("NSE,I,13,INDEX,0,NIFTY,1.0,,0001-01-01,,XX,0.05,,,X,X", "NSE_INDEX:NIFTY", token(0, 13)),
        ("NSE,I,21,INDEX,0,INDIA VIX,1.0,,0001-01-01,,XX,0.05,,,X,X", "NSE_INDEX:INDIAVIX", token(0, 21)),
        ("NSE,I,38,INDEX,0,NIFTY NEXT 50,1.0,,,,XX,0.05,,INDEX,X,X", "NSE_INDEX:NIFTYNXT50", token(0, 38)),
        ("NSE,I,1,INDEX,0,NIFTYMCAP50,1.0,,,,XX,0.05,,INDEX,X,X", "NSE_INDEX:NIFTYMIDCAP50", token(0, 1)),
        ("NSE,I,2,INDEX,0,NIFTY SMALLCAP 250,1.0,,,,XX,0,,,X,X", "NSE_INDEX:NIFTYSMLCAP250", token(0, 2)),
        ("BSE,I,51,INDEX,0,SENSEX,1.0,,0001-01-01,,XX,0.05,,,X,X", "BSE_INDEX:SENSEX", token(0, 51)),
        ("BSE,I,83,INDEX,0,SNSX50,1.0,,,,XX,0.05,,INDEX,X,X", "BSE_INDEX:SENSEX50", token(0, 83)),
        ("BSE,I,84,INDEX,0,BSE CG,1.0,,,,XX,0.05,,INDEX,X,X", "BSE_INDEX:BSECAPITALGOODS", token(0, 84)),
        ("MCX,I,400,INDEX,0,MCXBULLDEX,1.0,,,,XX,0.05,,INDEX,X,X", "MCX_INDEX:MCXBULLDEX", token(0, 400)),
    ],
)
def test_rows_of_every_segment_get_the_names_of_openalgo(row: str, name: str, number: int) -> None:
    loaded = load(row + "\n")
    assert [(str(each), loaded.book.token(each)) for each in loaded.book] == [(name, number)]
    assert loaded.skipped == 0


@pytest.mark.parametrize(
    "row",
    [
        "NSE,M,1,FUTCOM,0,GOLD-Aug2026-FUT,1.0,,2026-08-25,0,XX,10.0,M,FUT,,",
        "XXX,E,1,EQUITY,0,BOGUS,1.0,,,,,5.0,NA,ES,EQ,X",
        "NSE,E,zero,EQUITY,0,BAD,1.0,,,,,5.0,NA,ES,EQ,X",
        "NSE,E,0,EQUITY,0,BAD,1.0,,,,,5.0,NA,ES,EQ,X",
        "NSE,E,4294967296,EQUITY,0,BAD,1.0,,,,,5.0,NA,ES,EQ,X",
        "NSE,E,5,EQUITY,0,,1.0,,,,,5.0,NA,ES,EQ,X",
        "NSE,D,5,FUTIDX,0,NIFTYAUG26FUT,65.0,,2026-08-25 14:30:00,0,XX,10.0,M,FUT,,",
        "NSE,D,5,FUTIDX,0,NIFTY-Aug2026-FUT,65.0,,,0,XX,10.0,M,FUT,,",
        "NSE,D,5,OPTIDX,0,NIFTY-Aug2026-0-CE,65.0,,2026-08-25,0.0,CE,10.0,M,OP,,",
        "NSE,D,5,OPTIDX,0,NIFTY-Aug2026-24500-XX,65.0,,2026-08-25,24500,XX,10.0,M,OP,,",
        "NSE,D,5,OPTIDX,0,-Aug2026-24500-CE,65.0,,2026-08-25,24500,CE,10.0,M,OP,,",
        "too,short",
    ],
)
def test_a_row_that_names_nothing_costs_itself_only(row: str) -> None:
    loaded = load(f"{row}\n{RELIANCE}")
    assert (list(map(str, loaded.book)), loaded.skipped) == (["NSE:RELIANCE"], 1)


def test_what_the_list_says_of_an_instrument_is_kept_with_what_candles_are_asked_by() -> None:
    option = (
        "NSE,D,45001,OPTIDX,0,NIFTY-Dec2026-24500-CE,65.0,NIFTY 29 DEC 24500 CALL,2026-12-29 14:30:00,"
        "24500.00000,CE,5.0000,M,OP,NA,\n"
    )
    index = "NSE,I,13,INDEX,0,NIFTY,1.0,Nifty 50,0001-01-01,,XX,0.0500,,INDEX,X,NIFTY\n"
    book = load(RELIANCE + option + index).book
    assert book.details("NFO:NIFTY29DEC2624500CE") == DhanDetails(
        "NIFTY-Dec2026-24500-CE",
        "NSE_FNO",
        "NIFTY",
        "CE",
        "2026-12-29",
        24500.0,
        65,
        0.05,
        "45001",
        "OPTIDX",
    )
    assert book.details("NSE:RELIANCE") == DhanDetails(
        "RELIANCE", "NSE_EQ", "RELIANCE INDUSTRIES LTD", "EQ", "", 0.0, 1, 0.1, "2885", "EQUITY"
    )
    assert book.details("NSE_INDEX:NIFTY").kind == "INDEX"


def test_the_same_id_in_two_segments_is_two_securities_and_a_name_is_given_once() -> None:
    rows = (
        RELIANCE
        + "BSE,E,2885,EQUITY,0,OTHER,1.0,,,,,5.0,NA,ES,A,X\n"
        + "NSE,E,9999,EQUITY,0,RELIANCE,1.0,,,,,5.0,NA,ES,BE,X\n"
        + RELIANCE
    )
    loaded = load(rows)
    assert {str(each): loaded.book.token(each) for each in loaded.book} == {
        "NSE:RELIANCE": token(1, 2885),
        "BSE:OTHER": token(4, 2885),
    }
    assert loaded.skipped == 1


def test_a_list_of_other_columns_is_a_clear_error() -> None:
    with pytest.raises(BrokerError, match="no column SEM_EXM_EXCH_ID") as caught:
        asyncio.run(load_instruments(b"EXCH_ID,SEGMENT\nNSE,E\n"))
    assert caught.value.code is ErrorCode.BROKER_UNREACHABLE


def test_the_list_is_fetched_without_a_login() -> None:
    async def main() -> TokenBook:
        async def answer(request: web.Request) -> web.Response:
            assert "access-token" not in request.headers
            return web.Response(body=(HEADER + RELIANCE).encode())

        app = web.Application()
        app.router.add_get("/list.csv", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return await fetch_instruments(f"http://127.0.0.1:{runner.addresses[0][1]}/list.csv")
        finally:
            await runner.cleanup()

    assert asyncio.run(main()).token(Instrument("NSE", "RELIANCE")) == token(1, 2885)
