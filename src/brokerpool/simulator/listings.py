"""What the simulated broker lists: names as Kite spells them, real ones first, and their CSV file."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

NSE, NFO, CDS, BCD, INDICES, NCO = 1, 2, 3, 6, 9, 12

#: Wire units per rupee by segment; the python SDK 5.2.2 is the source, every other segment has 100.
_DIVISORS = {CDS: 10_000_000, BCD: 10_000, NCO: 10_000}

#: More would make the daily instrument file larger than the real one.
MOST_LISTINGS = 100_000

COLUMNS = (
    "instrument_token",
    "exchange_token",
    "tradingsymbol",
    "name",
    "last_price",
    "expiry",
    "strike",
    "tick_size",
    "lot_size",
    "instrument_type",
    "segment",
    "exchange",
)


def divisor(token: int) -> int:
    """Return how many wire units make one rupee for an instrument token; its low byte is the segment."""
    return _DIVISORS.get(token & 0xFF, 100)


@dataclass(frozen=True, slots=True)
class Listing:
    """One row of the broker's instrument file; `price` and `tick` are in the wire's unit."""

    exchange: str
    tradingsymbol: str
    name: str
    segment: int
    exchange_token: int
    #: The previous session's close, around which the market walks.
    price: int
    tick: int = 5
    lot: int = 1
    kind: str = "EQ"
    board: str = "NSE"
    expiry: date | None = None
    strike: float = 0.0

    @property
    def token(self) -> int:
        """The number that the wire carries."""
        return (self.exchange_token << 8) + self.segment

    @property
    def key(self) -> str:
        """The name that the quote endpoints take, as in NSE:INFY."""
        return f"{self.exchange}:{self.tradingsymbol}"

    @property
    def band(self) -> tuple[int, int]:
        """The lowest and the highest price at which it trades: a fifth around the close, as at exchanges.

        This also keeps prices positive and in 32 bits.
        """
        fifth = self.price // 5 // self.tick
        return max(self.tick, self.price - fifth * self.tick), self.price + max(10, fifth) * self.tick


# Symbol, name, exchange token, price in paise.
_EQUITIES = (
    ("RELIANCE", "RELIANCE INDUSTRIES", 2885, 141_250),
    ("INFY", "INFOSYS", 1594, 157_370),
    ("SBIN", "STATE BANK OF INDIA", 3045, 81_240),
    ("TCS", "TATA CONSULTANCY SERV LT", 11536, 342_055),
    ("HDFCBANK", "HDFC BANK", 1333, 198_340),
    ("ICICIBANK", "ICICI BANK", 4963, 142_575),
    ("AXISBANK", "AXIS BANK", 5900, 118_930),
    ("ITC", "ITC", 1660, 41_565),
    ("KOTAKBANK", "KOTAK MAHINDRA BANK", 1922, 219_080),
    ("LT", "LARSEN & TOUBRO", 11483, 360_425),
    ("HINDUNILVR", "HINDUSTAN UNILEVER", 1394, 251_810),
    ("BHARTIARTL", "BHARTI AIRTEL", 10604, 193_655),
    ("ASIANPAINT", "ASIAN PAINTS", 236, 248_720),
    ("MARUTI", "MARUTI SUZUKI INDIA", 10999, 1_245_300),
    ("TATAMOTORS", "TATA MOTORS", 3456, 39_295),
    ("WIPRO", "WIPRO", 3787, 26_180),
    ("BAJFINANCE", "BAJAJ FINANCE", 317, 92_365),
    ("SUNPHARMA", "SUN PHARMACEUTICAL IND L", 3351, 168_545),
    ("TITAN", "TITAN COMPANY", 3506, 345_620),
    ("ULTRACEMCO", "ULTRATECH CEMENT", 11532, 1_218_500),
    ("NTPC", "NTPC", 11630, 33_815),
    ("POWERGRID", "POWER GRID CORP", 14977, 28_860),
    ("ONGC", "OIL AND NATURAL GAS CORP", 2475, 24_195),
    ("COALINDIA", "COAL INDIA", 20374, 38_270),
    ("TATASTEEL", "TATA STEEL", 3499, 16_145),
    ("JSWSTEEL", "JSW STEEL", 11723, 104_380),
    ("HCLTECH", "HCL TECHNOLOGIES", 7229, 156_915),
    ("TECHM", "TECH MAHINDRA", 13538, 148_220),
    ("ADANIENT", "ADANI ENTERPRISES", 25, 259_475),
    ("ADANIPORTS", "ADANI PORT & SEZ", 15083, 145_060),
)
_INDICES = (
    ("NIFTY 50", 1001, 2_340_685),
    ("NIFTY BANK", 1016, 5_105_420),
    ("INDIA VIX", 1035, 1_385),
    ("NIFTY FIN SERVICE", 1007, 2_418_560),
    ("NIFTY MIDCAP 100", 1003, 5_622_015),
)
# Underlying, price in paise, lot, distance of strikes in rupees.
_UNDERLYINGS = (("NIFTY", 2_340_685, 75, 50), ("BANKNIFTY", 5_105_420, 35, 100))
# Pair, price in the wire's unit (a ten-millionth of a rupee).
_CURRENCIES = (
    ("USDINR", 832_525_000),
    ("EURINR", 905_275_000),
    ("GBPINR", 1_063_450_000),
    ("JPYINR", 562_125_000),
)
_FIRST_GENERATED = {NSE: 30_000, NFO: 40_000, CDS: 1_000}


def listings(count: int, today: date) -> list[Listing]:
    """Return `count` instruments, the same for the same arguments: equities, then indices, NFO and CDS.

    A tenth are futures and options on indices; up to five indices and twelve currency futures come in
    from fifty instruments on. Contracts expire on the last Tuesday of this month or a later one.
    Raises ValueError for a count outside 1 to 100,000.
    """
    if not 1 <= count <= MOST_LISTINGS:
        raise ValueError(f"{count} instruments asked for; the simulator lists 1 to {MOST_LISTINGS}")
    indices = min(len(_INDICES), count // 50)
    currencies = min(3 * len(_CURRENCIES), count // 50)
    derivatives = count // 10
    equities = count - indices - currencies - derivatives
    expiries = monthly_expiries(today, 3)
    return [
        *itertools.islice(_equities(), equities),
        *itertools.islice(_indices(), indices),
        *itertools.islice(_derivatives(expiries), derivatives),
        *itertools.islice(_currency_futures(expiries), currencies),
    ]


def recorded_listing(token: int, exchange: str, tradingsymbol: str) -> Listing:
    """Return a row for an instrument of which only the name and the token are known."""
    board = "INDICES" if token & 0xFF == INDICES else exchange
    price = 100 * divisor(token)
    return Listing(exchange, tradingsymbol, tradingsymbol, token & 0xFF, token >> 8, price, board=board)


def with_recorded(rows: Iterable[Listing], recorded: Iterable[tuple[int, str, str]]) -> list[Listing]:
    """Return the rows, and one for each recorded token, exchange and symbol that they lack."""
    by_token = {row.token: row for row in rows}
    for token, exchange, symbol in recorded:
        by_token.setdefault(token, recorded_listing(token, exchange, symbol))
    return list(by_token.values())


def monthly_expiries(today: date, count: int) -> list[date]:
    """Return the next `count` month-end contract days: the last Tuesday of a month, today included."""
    found: list[date] = []
    year, month = today.year, today.month
    while len(found) < count:
        following = date(year + month // 12, month % 12 + 1, 1)
        last = following - timedelta(days=1)
        tuesday = last - timedelta(days=(last.weekday() - 1) % 7)
        if tuesday >= today:
            found.append(tuesday)
        year, month = following.year, following.month
    return found


def instruments_csv(rows: Iterable[Listing]) -> bytes:
    """Return the rows as the broker's instrument file: CSV with a header line."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            (
                row.token,
                row.exchange_token,
                row.tradingsymbol,
                row.name,
                0.0,
                row.expiry.isoformat() if row.expiry else "",
                row.strike,
                row.tick / divisor(row.token),
                row.lot,
                row.kind,
                row.board,
                row.exchange,
            )
        )
    return text.getvalue().encode()


def _equities() -> Iterator[Listing]:
    for symbol, name, exchange_token, price in _EQUITIES:
        yield Listing("NSE", symbol, name, NSE, exchange_token, price)
    for number in itertools.count(1):
        # Spread over 20 to 4,000 rupees without a random generator, so that a longer list starts like a
        # shorter one.
        price = 2_000 + number * 7_919 % 398_000 // 5 * 5
        symbol = f"SIM{number:04d}"
        yield Listing("NSE", symbol, f"SIMULATED {number}", NSE, _FIRST_GENERATED[NSE] + number, price)


def _indices() -> Iterator[Listing]:
    for symbol, exchange_token, price in _INDICES:
        yield Listing("NSE", symbol, symbol, INDICES, exchange_token, price, lot=0, board="INDICES")


def _derivatives(expiries: Sequence[date]) -> Iterator[Listing]:
    numbers = itertools.count(_FIRST_GENERATED[NFO])
    for expiry in expiries:
        for name, spot, lot, _ in _UNDERLYINGS:
            symbol = f"{name}{_month(expiry)}FUT"
            yield Listing("NFO", symbol, name, NFO, next(numbers), spot, 5, lot, "FUT", "NFO-FUT", expiry)
    nearest_expiry = expiries[0]
    for distance in itertools.count():
        for name, spot, lot, gap in _UNDERLYINGS:
            at_the_money = round(spot / 100 / gap) * gap
            for strike in sorted({at_the_money - distance * gap, at_the_money + distance * gap}):
                for kind in ("CE", "PE") if strike > 0 else ():
                    yield Listing(
                        exchange="NFO",
                        tradingsymbol=f"{name}{_month(nearest_expiry)}{strike}{kind}",
                        name=name,
                        segment=NFO,
                        exchange_token=next(numbers),
                        price=_option_price(spot, strike * 100, kind),
                        lot=lot,
                        kind=kind,
                        board="NFO-OPT",
                        expiry=nearest_expiry,
                        strike=strike,
                    )


def _currency_futures(expiries: Sequence[date]) -> Iterator[Listing]:
    numbers = itertools.count(_FIRST_GENERATED[CDS])
    for expiry in expiries:
        for name, price in _CURRENCIES:
            symbol = f"{name}{_month(expiry)}FUT"
            yield Listing("CDS", symbol, name, CDS, next(numbers), price, 25_000, 1, "FUT", "CDS-FUT", expiry)


def _month(expiry: date) -> str:
    # strftime("%b") would follow the locale.
    names = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
    return f"{expiry.year % 100:02d}{names[expiry.month - 1]}"


def _option_price(spot: int, strike: int, kind: str) -> int:
    intrinsic = max(0, spot - strike if kind == "CE" else strike - spot)
    time_value = max(5, 20_000 - abs(spot - strike) // 5)
    return (intrinsic + time_value) // 5 * 5
