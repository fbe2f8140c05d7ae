"""Angel's instrument list under OpenAlgo's names: all usable rows, quickly; the loop is never held up."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from typing import Any

import pytest

from brokerpool.brokers.angel.instruments import load_instruments
from brokerpool.brokers.angel.symbols import Row, named
from brokerpool.instruments import Details, Instrument


def row(
    symbol: str, name: str, expiry: str = "", strike: str = "-1", kind: str = "", exchange: str = "NSE"
) -> dict[str, str]:
    return {
        "token": "1594",
        "symbol": symbol,
        "name": name,
        "expiry": expiry,
        "strike": strike,
        "lotsize": "75",
        "instrumenttype": kind,
        "exch_seg": exchange,
        "tick_size": "5.000000",
    }


def load(rows: list[dict[str, Any]]):
    return asyncio.run(load_instruments(json.dumps(rows).encode()))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("INFY-EQ", "INFY"), "NSE:INFY"),
        (("M&M-EQ", "M&M"), "NSE:M&M"),
        (("BAJAJ-AUTO-EQ", "BAJAJ-AUTO"), "NSE:BAJAJ-AUTO"),
        (("CENTRALBK-BE", "CENTRALBK"), "NSE:CENTRALBK-BE"),
        (("RELIANCE", "RELIANCE", "", "-1.000000", "", "BSE"), "BSE:RELIANCE"),
        (("SBIN-EQ", "SBIN", "", "", "", "nse_cm"), "NSE:SBIN"),
        (("NIFTY29SEP26FUT", "NIFTY", "29SEP2026", "-1.000000", "FUTIDX", "NFO"), "NFO:NIFTY29SEP26FUT"),
        (("NIFTY29SEP2624400CE", "NIFTY", "29SEP2026", "2440000.000000", "OPTIDX", "NFO"),
         "NFO:NIFTY29SEP2624400CE"),
        (("VEDL25APR24292.5CE", "VEDL", "25Apr2024", "29250.000000", "OPTSTK", "NFO"),
         "NFO:VEDL25APR24292.5CE"),
        (("BAJAJ-AUTO30JAN259000PE", "BAJAJ-AUTO", "30JAN2025", "900000.000000", "OPTSTK", "NFO"),
         "NFO:BAJAJ-AUTO30JAN259000PE"),
        (("SENSEX25OCTFUT", "SENSEX", "30OCT2025", "-1", "FUTIDX", "BFO"), "BFO:SENSEX30OCT25FUT"),
        (("SENSEX24MAR75000PE", "SENSEX", "28MAR2024", "7500000.000000", "OPTIDX", "BFO"),
         "BFO:SENSEX28MAR2475000PE"),
        (("USDINR24MAYFUT", "USDINR", "10MAY2024", "-1", "FUTCUR", "CDS"), "CDS:USDINR10MAY24FUT"),
        (("USDINR25OCT8325CE", "USDINR", "29OCT2025", "832500000.000000", "OPTCUR", "CDS"),
         "CDS:USDINR29OCT2583.25CE"),
        (("CRUDEOILM24MAYFUT", "CRUDEOILM", "20MAY2024", "-1", "FUTCOM", "MCX"), "MCX:CRUDEOILM20MAY24FUT"),
        (("CRUDEOIL25NOV5000CE", "CRUDEOIL", "17NOV2025", "500000", "OPTFUT", "MCX"),
         "MCX:CRUDEOIL17NOV255000CE"),
        (("GOLD", "GOLD", "", "-1.000000", "COMDTY", "MCX"), "MCX:GOLD"),
        (("DHANIYA20APR26", "DHANIYA", "20APR2026", "-1", "FUTCOM", "NCDEX"), "NCDEX:DHANIYA20APR26FUT"),
        (("Nifty 50", "NIFTY", "", "0.000000", "AMXIDX"), "NSE_INDEX:NIFTY"),
        (("Nifty Bank", "BANKNIFTY", "", "0.000000", "AMXIDX"), "NSE_INDEX:BANKNIFTY"),
        (("Nifty Fin Service", "FINNIFTY", "", "0", "AMXIDX"), "NSE_INDEX:FINNIFTY"),
        (("Nifty Next 50", "NIFTYNXT50", "", "0", "AMXIDX"), "NSE_INDEX:NIFTYNXT50"),
        (("NIFTY MID SELECT", "MIDCPNIFTY", "", "0", "AMXIDX"), "NSE_INDEX:MIDCPNIFTY"),
        (("India VIX", "INDIA VIX", "", "0", "AMXIDX"), "NSE_INDEX:INDIAVIX"),
        (("Nifty 100", "NIFTY 100", "", "0", "AMXIDX"), "NSE_INDEX:NIFTY100"),
        (("SENSEX", "SENSEX", "", "0", "AMXIDX", "BSE"), "BSE_INDEX:SENSEX"),
        (("SNSX50", "SNSX50", "", "0", "AMXIDX", "BSE"), "BSE_INDEX:SENSEX50"),
        (("MCXBULLDEX", "MCXBULLDEX", "", "0", "AMXIDX", "MCX"), "MCX_INDEX:MCXBULLDEX"),
    ],
)  # fmt: skip
def test_rows_get_the_names_of_openalgo(fields, expected):
    assert str(named(Row(**row(*fields))).instrument) == expected


@pytest.mark.parametrize(
    "fields",
    [
        ("", "INFY"),
        ("INFY-EQ", "INFY", "", "", "", "MARS"),
        ("USDINR24MAYFUT", "USDINR", "10MAY2024", "-1", "FUTCUR", "BCD"),
        ("NIFTYFUT", "NIFTY", "", "-1", "FUTIDX", "NFO"),
        ("NIFTYFUT", "NIFTY", "31APR2025", "-1", "FUTIDX", "NFO"),
        ("NIFTYFUT", "NIFTY", "30XYZ2025", "-1", "FUTIDX", "NFO"),
        ("NIFTYFUT", "", "30APR2025", "-1", "FUTIDX", "NFO"),
        ("NIFTY24500CE", "NIFTY", "24APR2025", "", "OPTIDX", "NFO"),
        ("NIFTY24500CE", "NIFTY", "24APR2025", "-1.000000", "OPTIDX", "NFO"),
        ("NIFTY24500CE", "NIFTY", "24APR2025", "nan", "OPTIDX", "NFO"),
        ("NIFTY24500XX", "NIFTY", "24APR2025", "2450000", "OPTIDX", "NFO"),
    ],
)
def test_a_row_that_names_nothing_is_refused(fields):
    with pytest.raises(ValueError, match=r"."):
        named(Row(**row(*fields)))


def test_what_the_list_says_of_an_instrument_is_kept():
    option = row("NIFTY29SEP2624400CE", "NIFTY", "29SEP2026", "2440000.000000", "OPTIDX", "NFO")
    index = row("Nifty 50", "NIFTY", "", "0.000000", "AMXIDX")
    rows = [row("INFY-EQ", "INFY"), {**option, "token": "35003"}, {**index, "token": "99926000"}]
    book = load(rows).book
    assert {str(i): book.token(i) for i in book} == {
        "NSE:INFY": "1|1594",
        "NFO:NIFTY29SEP2624400CE": "2|35003",
        "NSE_INDEX:NIFTY": "1|99926000",
    }
    assert book.details("NSE:INFY") == Details("INFY-EQ", "NSE", "INFY", "EQ", "", 0, 75, 0.05, "1594")
    assert book.details("NFO:NIFTY29SEP2624400CE") == Details(
        "NIFTY29SEP2624400CE", "NFO", "NIFTY", "CE", "2026-09-29", 24400.0, 75, 0.05, "35003"
    )
    assert book.details("NSE_INDEX:NIFTY").kind == "INDEX"


def test_bad_rows_are_counted_and_the_others_kept():
    good = row("INFY-EQ", "INFY")
    bad: list[dict[str, Any]] = [
        {**good, "symbol": "A-EQ", "token": ""},
        {**good, "symbol": "B-EQ", "token": "9" * 26},
        {**good, "symbol": "C-EQ", "token": "1\n5"},
        {**good, "symbol": "D-EQ", "token": "2", "lotsize": "many"},
        {**good, "symbol": "E-EQ", "token": "2", "tick_size": "fine"},
        {**good, "symbol": "F-EQ", "token": 2},
        {**good, "token": "3"},
        {**good, "symbol": "G-EQ"},
        {"token": "4"},
    ]
    loaded = load([*bad[:6], good, good, *bad[6:], {**good, "symbol": "SBIN-EQ", "token": "3045"}])
    assert {str(i): loaded.book.token(i) for i in loaded.book} == {
        "NSE:INFY": "1|1594",
        "NSE:SBIN": "1|3045",
    }
    assert loaded.skipped == len(bad)


def test_the_same_number_in_two_segments_is_two_instruments():
    stock = row("INFY-EQ", "INFY")
    pair = row("USDINR24MAYFUT", "USDINR", "10MAY2024", "-1", "FUTCUR", "CDS")
    assert len(load([stock, pair]).book) == 2


def big_dump(rows: int) -> bytes:
    return json.dumps(
        [
            {
                **row(f"NIFTY29SEP26{n}CE", "NIFTY", "29SEP2026", f"{n}00.000000", "OPTIDX", "NFO"),
                "token": str(n),
            }
            for n in range(1, rows + 1)
        ]
    ).encode()


def test_a_list_needs_little_memory_beyond_the_rows_that_are_kept():
    dump = big_dump(30_000)
    tracemalloc.start()
    try:
        loaded = asyncio.run(load_instruments(dump))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(loaded.book) == 30_000
    assert peak - kept < 10_000_000


def test_the_name_of_an_instrument_is_found_by_its_token():
    book = load([row("INFY-EQ", "INFY")]).book
    assert book.instrument("1|1594") == Instrument("NSE", "INFY")
