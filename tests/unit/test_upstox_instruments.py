"""Upstox's instrument list: every segment under OpenAlgo's names, and a broken row costs itself."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import BrokerError, ErrorCode
from brokerpool.brokers.instrument_list_file import LoadedInstruments
from brokerpool.brokers.upstox import load_instruments
from brokerpool.brokers.upstox.symbols import EXCHANGES
from brokerpool.instruments import EXCHANGES as OPENALGO
from brokerpool.instruments import Details

EQUITY = {
    "segment": "NSE_EQ",
    "name": "RELIANCE INDUSTRIES LTD",
    "exchange": "NSE",
    "isin": "INE002A01018",
    "instrument_type": "EQ",
    "instrument_key": "NSE_EQ|INE002A01018",
    "lot_size": 1,
    "freeze_quantity": 100000.0,
    "exchange_token": "2885",
    "tick_size": 10.0,
    "trading_symbol": "RELIANCE",
    "short_name": "Reliance",
    "security_type": "NORMAL",
}
#: 2026-11-26, 23:59:59 in India.
EXPIRY = 1_795_717_799_000


def contract(segment: str, kind: str, underlying: str, token: str, **more: Any) -> dict[str, Any]:
    return {
        "weekly": False,
        "segment": segment,
        "name": underlying,
        "exchange": segment[:3],
        "expiry": EXPIRY,
        "instrument_type": kind,
        "asset_symbol": underlying,
        "underlying_symbol": underlying,
        "instrument_key": f"{segment}|{token}",
        "lot_size": 75,
        "exchange_token": token,
        "tick_size": 5.0,
        "trading_symbol": f"{underlying} {kind} 26 NOV 26",
        "strike_price": 0.0,
        **more,
    }


def index(segment: str, name: str, symbol: str) -> dict[str, Any]:
    return {
        "segment": segment,
        "name": name,
        "exchange": segment[:3],
        "instrument_type": "INDEX",
        "instrument_key": f"{segment}|{name}",
        "exchange_token": "26000",
        "trading_symbol": symbol,
    }


def load(*rows: Any, packed: bool = True) -> LoadedInstruments:
    text = json.dumps(rows).encode()
    return asyncio.run(load_instruments(gzip.compress(text) if packed else text))


@pytest.mark.parametrize(
    ("row", "name", "kind"),
    [
        (EQUITY, "NSE:RELIANCE", "EQ"),
        ({**EQUITY, "segment": "BSE_EQ", "instrument_key": "BSE_EQ|INE002A01018"}, "BSE:RELIANCE", "EQ"),
        (contract("NSE_FO", "FUT", "NIFTY", "53001"), "NFO:NIFTY26NOV26FUT", "FUT"),
        (contract("NSE_FO", "CE", "NIFTY", "1", strike_price=23400.0), "NFO:NIFTY26NOV2623400CE", "CE"),
        (contract("NSE_FO", "PE", "VEDL", "2", strike_price=292.5), "NFO:VEDL26NOV26292.5PE", "PE"),
        (contract("NSE_FO", "CE", "M&M", "3", strike_price=3000.0), "NFO:M&M26NOV263000CE", "CE"),
        (contract("BSE_FO", "PE", "SENSEX", "4", strike_price=77000.0), "BFO:SENSEX26NOV2677000PE", "PE"),
        (contract("NCD_FO", "FUT", "USDINR", "5", tick_size=0.25), "CDS:USDINR26NOV26FUT", "FUT"),
        (contract("NCD_FO", "CE", "USDINR", "6", strike_price=83.25), "CDS:USDINR26NOV2683.25CE", "CE"),
        (contract("BCD_FO", "FUT", "USDINR", "7"), "BCD:USDINR26NOV26FUT", "FUT"),
        (contract("MCX_FO", "FUT", "CRUDEOIL", "8"), "MCX:CRUDEOIL26NOV26FUT", "FUT"),
        (contract("NSE_COM", "FUT", "GOLD", "9"), "NCO:GOLD26NOV26FUT", "FUT"),
        (contract("NSE_FO", "FUT", "", "10", name="NIFTY", asset_symbol=""), "NFO:NIFTY26NOV26FUT", "FUT"),
        (contract("NSE_FO", "FUT", "NIFTY", "11", expiry="2026-11-26"), "NFO:NIFTY26NOV26FUT", "FUT"),
        (index("NSE_INDEX", "Nifty 50", "NIFTY"), "NSE_INDEX:NIFTY", "INDEX"),
        (index("NSE_INDEX", "Nifty Bank", "BANKNIFTY"), "NSE_INDEX:BANKNIFTY", "INDEX"),
        (index("NSE_INDEX", "Nifty Fin Service", "FINNIFTY"), "NSE_INDEX:FINNIFTY", "INDEX"),
        (index("NSE_INDEX", "NIFTY MID SELECT", "MIDCPNIFTY"), "NSE_INDEX:MIDCPNIFTY", "INDEX"),
        (index("NSE_INDEX", "Nifty Next 50", "NIFTYNXT50"), "NSE_INDEX:NIFTYNXT50", "INDEX"),
        (index("NSE_INDEX", "India VIX", "INDIA VIX"), "NSE_INDEX:INDIAVIX", "INDEX"),
        (index("BSE_INDEX", "SENSEX", "SENSEX"), "BSE_INDEX:SENSEX", "INDEX"),
        (index("BSE_INDEX", "BANKEX", "BANKEX"), "BSE_INDEX:BANKEX", "INDEX"),
        (index("MCX_INDEX", "MCXBULLDEX", "MCXBULLDEX"), "MCX_INDEX:MCXBULLDEX", "INDEX"),
        (index("GLOBAL_INDEX", "SGX NIFTY", "GIFT NIFTY"), "GLOBAL_INDEX:SGXNIFTY", "INDEX"),
    ],
)
def test_every_segment_is_listed_under_openalgo_s_name(row: dict[str, Any], name: str, kind: str) -> None:
    book, skipped = load(row)
    assert not skipped
    assert [str(instrument) for instrument in book] == [name]
    assert book.token(name) == row["instrument_key"]
    assert book.details(name).kind == kind


def test_every_segment_s_exchange_is_one_of_openalgo_s() -> None:
    assert set(EXCHANGES.values()) <= OPENALGO


def test_the_details_are_in_rupees_and_units() -> None:
    option = contract("NSE_FO", "CE", "NIFTY", "45450", strike_price=23400.0)
    book, _ = load(EQUITY, option)
    assert book.details("NSE:RELIANCE") == Details(
        "RELIANCE", "NSE_EQ", "RELIANCE INDUSTRIES LTD", "EQ", "", 0.0, 1, 0.1, "2885"
    )
    details = book.details("NFO:NIFTY26NOV2623400CE")
    assert (details.expiry, details.strike, details.lot_size) == ("2026-11-26", 23400.0, 75)
    assert (details.tick_size, details.number) == (0.05, "45450")


@pytest.mark.parametrize(
    "bad",
    [
        {"segment": "NSE_EQ"},
        {**EQUITY, "instrument_key": 5},
        {**EQUITY, "instrument_key": "A|1,A|2"},
        {**EQUITY, "instrument_key": "A|\u0942"},
        {**EQUITY, "instrument_key": "A" * 101},
        {**EQUITY, "trading_symbol": "", "instrument_key": "NSE_EQ|X"},
        {**EQUITY, "segment": "MOON_EQ", "instrument_key": "MOON_EQ|X"},
        contract("NSE_FO", "CE", "NIFTY", "1"),
        contract("NSE_FO", "FUT", "", "1", name="", asset_symbol=""),
        contract("NSE_FO", "FUT", "NIFTY", "1", expiry="soon"),
        contract("NSE_FO", "FUT", "NIFTY", "1", expiry=10**30),
        # Taken by an earlier row.
        {**EQUITY, "instrument_key": "NSE_EQ|ANOTHER"},
        {**EQUITY, "trading_symbol": "ANOTHER"},
    ],
)
def test_a_row_that_cannot_be_used_is_counted_and_costs_itself(bad: Any) -> None:
    book, skipped = load(EQUITY, bad, contract("MCX_FO", "FUT", "GOLD", "8"), packed=False)
    assert [str(instrument) for instrument in book] == ["NSE:RELIANCE", "MCX:GOLD26NOV26FUT"]
    assert skipped == 1


@given(st.binary(max_size=300))
def test_any_bytes_are_the_broker_s_fault(data: bytes) -> None:
    with pytest.raises(BrokerError) as fault:
        asyncio.run(load_instruments(data))
    assert fault.value.code is ErrorCode.BROKER_UNREACHABLE
