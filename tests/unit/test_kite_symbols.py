"""OpenAlgo's names for what Kite lists: every index of its symbol format, and contracts of every kind."""

from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.zerodha.symbols import openalgo_instrument
from brokerpool.instruments import EXCHANGES

# The names are those of OpenAlgo's symbol format, looked up on 2026-11-28; Kite's codes stand in front.
BSE = """
SENSEX SENSEX | BANKEX BANKEX | SNSX50 SENSEX50 | SENSEX50 SENSEX50 | SNXT50 BSESENSEXNEXT50 | BSE100 BSE100
BSE200 BSE200 | BSE500 BSE500 | MID150 BSE150MIDCAPINDEX | LMI250 BSE250LARGEMIDCAPINDEX
MSL400 BSE400MIDSMALLCAPINDEX | AUTO BSEAUTO | BSECG BSECAPITALGOODS | BSE_CG BSECAPITALGOODS
CARBON BSECARBONEX | CARBONEX BSECARBONEX | BSECD BSECONSUMERDURABLES | CPSE BSECPSE | DOL30 BSEDOLLEX30
DOL100 BSEDOLLEX100 | DOL200 BSEDOLLEX200 | ENERGY BSEENERGY | BSEFMC BSEFASTMOVINGCONSUMERGOODS
FMC BSEFASTMOVINGCONSUMERGOODS | FIN BSEFINANCIALSERVICES | FINSER BSEFINANCIALSERVICES | GREENX BSEGREENEX
GREENEX BSEGREENEX | BSEHC BSEHEALTHCARE | BSE_HC BSEHEALTHCARE | INFRA BSEINDIAINFRASTRUCTUREINDEX
INDSTR BSEINDUSTRIALS | BSEIT BSEINFORMATIONTECHNOLOGY | BSE_IT BSEINFORMATIONTECHNOLOGY | BSEIPO BSEIPO
IPO BSEIPO | LRGCAP BSELARGECAP | METAL BSEMETAL | MIDCAP BSEMIDCAP | MIDSEL BSEMIDCAPSELECTINDEX
OILGAS BSEOIL&GAS | POWER BSEPOWER | BSEPSU BSEPSU | PSU BSEPSU | REALTY BSEREALTY | SMLCAP BSESMALLCAP
SMLSEL BSESMALLCAPSELECTINDEX | SMEIPO BSESMEIPO | TECK BSETECK | TELCOM BSETELECOM | NEWONE BSENEWONE
"""
NSE = """
NIFTY_50 NIFTY | NIFTY_NEXT_50 NIFTYNXT50 | NIFTY_FIN_SERVICE FINNIFTY | NIFTY_BANK BANKNIFTY
NIFTY_MID_SELECT MIDCPNIFTY | NIFTY_MIDCAP_SELECT MIDCPNIFTY | INDIA_VIX INDIAVIX
HANGSENG_BEES-NAV HANGSENGBEESNAV | NIFTY_100 NIFTY100 | NIFTY_ALPHA_50 NIFTYALPHA50
NIFTY_DIV_OPPS_50 NIFTYDIVOPPS50 | NIFTY_GROWSECT_15 NIFTYGROWSECT15 | NIFTY_GS_10YR NIFTYGS10YR
NIFTY_GS_10YR_CLN NIFTYGS10YRCLN | NIFTY_GS_11_15YR NIFTYGS1115YR | NIFTY_GS_15YRPLUS NIFTYGS15YRPLUS
NIFTY_GS_4_8YR NIFTYGS48YR | NIFTY_GS_8_13YR NIFTYGS813YR | NIFTY_GS_COMPSITE NIFTYGSCOMPSITE
NIFTY_MID_LIQ_15 NIFTYMIDLIQ15 | NIFTY_MIDSML_400 NIFTYMIDSML400 | NIFTY_PVT_BANK NIFTYPVTBANK
NIFTY_SERV_SECTOR NIFTYSERVSECTOR | NIFTY_SMLCAP_250 NIFTYSMLCAP250 | NIFTY100_EQL_WGT NIFTY100EQLWGT
NIFTY100_LIQ_15 NIFTY100LIQ15 | NIFTY100_LOWVOL30 NIFTY100LOWVOL30 | NIFTY100_QUALTY30 NIFTY100QUALTY30
NIFTY50_DIV_POINT NIFTY50DIVPOINT | NIFTY50_PR_1X_INV NIFTY50PR1XINV | NIFTY50_TR_2X_LEV NIFTY50TR2XLEV
NIFTY50_VALUE_20 NIFTY50VALUE20 | Nifty_It NIFTYIT
"""
MCX = "MCXBULLDEX MCXMETLDEX MCXENERGY MCXGOLDEX MCXSILVDEX MCXCRUDEX MCXCOPRDEX MCXCOMPDEX MCXAGRI MCXMETAL"
GLOBAL = (
    "AUS200 FRANCE40 GERMANY40 HANGSENG JAPAN225 SHANGHAICHINA UK100 US100 US10YRYIELD US30 US500 USCOMPOSITE"
)

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def pairs(text: str) -> list[tuple[str, str]]:
    """Read `code name | code name`; an underscore stands for a blank in Kite's code."""
    read = [entry.split() for line in text.strip().splitlines() for entry in line.split("|")]
    return [(code.replace("_", " "), name) for code, name in read]


INDICES = [
    *(("BSE", code, f"BSE_INDEX:{name}") for code, name in pairs(BSE)),
    *(("NSE", code, f"NSE_INDEX:{name}") for code, name in pairs(NSE)),
    *(("MCX", name, f"MCX_INDEX:{name}") for name in MCX.split()),
    *(("GLOBAL", name, f"GLOBAL_INDEX:{name}") for name in GLOBAL.split()),
    ("NSEIX", "GIFT NIFTY", "GLOBAL_INDEX:GIFTNIFTY"),
]


@pytest.mark.parametrize(("exchange", "code", "expected"), INDICES, ids=lambda value: value)
def test_an_index_has_the_name_of_openalgos_symbol_format(exchange: str, code: str, expected: str) -> None:
    assert str(openalgo_instrument(code, code, "", "0", "EQ", "INDICES", exchange)) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("BANKNIFTY24APRFUT,BANKNIFTY,2024-04-24,0,FUT,NFO-FUT,NFO", "NFO:BANKNIFTY24APR24FUT"),
        ("SENSEX24APRFUT,SENSEX,2024-04-24,0,FUT,BFO-FUT,BFO", "BFO:SENSEX24APR24FUT"),
        ("SENSEX26O0882000PE,SENSEX,2026-10-08,82000,PE,BFO-OPT,BFO", "BFO:SENSEX08OCT2682000PE"),
        ("NIFTY24MAR20800CE,NIFTY,2024-03-28,20800.0,CE,NFO-OPT,NFO", "NFO:NIFTY28MAR2420800CE"),
        ("M&M25APR2900CE,M&M,2025-04-24,2900,CE,NFO-OPT,NFO", "NFO:M&M24APR252900CE"),
        ("VEDL24APR292.5CE,VEDL,2024-04-25,292.50,CE,NFO-OPT,NFO", "NFO:VEDL25APR24292.5CE"),
        ("726GS203324APRFUT,726GS2033,2024-04-25,0,FUT,CDS-FUT,CDS", "CDS:726GS203325APR24FUT"),
        ("726GS203224APR97PE,726GS2032,2024-04-25,97,PE,CDS-OPT,CDS", "CDS:726GS203225APR2497PE"),
        ("USDINR24APR82CE,USDINR,2024-04-19,82.0000,CE,CDS-OPT,CDS", "CDS:USDINR19APR2482CE"),
        ("JPYINR24APR56.0025CE,JPYINR,2024-04-19,56.0025,CE,CDS-OPT,CDS", "CDS:JPYINR19APR2456.0025CE"),
        ("USDINR24MAYFUT,USDINR,2024-05-10,0,FUT,BCD-FUT,BCD", "BCD:USDINR10MAY24FUT"),
        ("CRUDEOIL24APR6750CE,CRUDEOIL,2024-04-17,6750,CE,MCX-OPT,MCX", "MCX:CRUDEOIL17APR246750CE"),
        ("NATURALGAS24APR152.5PE,NATURALGAS,2024-04-23,152.5,PE,MCX-OPT,MCX", "MCX:NATURALGAS23APR24152.5PE"),
        ("GOLD26JUNFUT,GOLD,2026-06-30,0,FUT,NCO-FUT,NCO", "NCO:GOLD30JUN26FUT"),
        ("COPPER26MAY1195CE,COPPER,2026-05-20,1195,CE,NCO-OPT,NCO", "NCO:COPPER20MAY261195CE"),
        ("WTICRUDE26MAYFUT,WTI CRUDE OIL,2026-05-20,0,FUT,NCO-FUT,NCO", "NCO:WTICRUDEOIL20MAY26FUT"),
        ("BRITANNIA-N3,BRITANNIA,,0,EQ,NSE,NSE", "NSE:BRITANNIA-N3"),
        ("J&KBANK,J&K BANK,,0,EQ,NSE,NSE", "NSE:J&KBANK"),
        ("20MICRONS,20 MICRONS,,0,EQ,BSE,BSE", "BSE:20MICRONS"),
        ("GOLD1G,GOLD,,0,EQ,NCO,NCO", "NCO:GOLD1G"),
    ],
)
def test_equities_and_contracts_have_the_names_of_openalgos_symbol_format(row: str, expected: str) -> None:
    assert str(openalgo_instrument(*row.split(","))) == expected


@given(
    underlying=st.from_regex(r"[A-Z0-9][A-Z0-9&-]{0,18}[A-Z&-]", fullmatch=True),
    expiry=st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    strike=st.integers(1, 4_000_000_000).map(lambda quarters: quarters / 400),
    kind=st.sampled_from(["FUT", "CE", "PE"]),
    exchange=st.sampled_from(["NFO", "BFO", "CDS", "BCD", "MCX", "NCO"]),
)
def test_a_contract_s_name_can_be_read_back(
    underlying: str, expiry: date, strike: float, kind: str, exchange: str
) -> None:
    found = openalgo_instrument("any", underlying, expiry.isoformat(), f"{strike:.4f}", kind, "X", exchange)
    parts = re.fullmatch(r"(.+?)(\d\d)([A-Z]{3})(\d\d)(\d+(?:\.\d+)?)?(FUT|CE|PE)", found.symbol)
    assert parts is not None
    name, day, month, year, told, tail = parts.groups()
    assert (name, tail) == (underlying, kind)
    assert (int(day), month, int(year)) == (
        expiry.day,
        MONTHS[expiry.month - 1],
        expiry.year % 100,
    )
    assert (told is None) == (kind == "FUT")
    if told is not None:
        assert float(told) == pytest.approx(strike, abs=1e-9)
        assert not re.search(r"\.0*$|\.\d*0$", told), "no zero stands at the end"


@given(st.lists(st.text(max_size=30), min_size=7, max_size=7), st.sampled_from(["INDICES", "NFO-OPT", "NSE"]))
def test_whatever_a_row_says_it_names_an_instrument_of_a_known_exchange_or_is_refused(
    row: list[str], segment: str
) -> None:
    row[5] = segment
    try:
        found = openalgo_instrument(*row)
    except ValueError:
        return
    assert found.exchange in EXCHANGES
    assert found.symbol
