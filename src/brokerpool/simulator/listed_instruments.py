"""What the simulated exchange lists, real names first; how the broker spells them is told by its front."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, Protocol, TypeAlias

#: More would make the daily instrument file larger than a real one.
MOST_LISTINGS = 200_000

#: A share, an index, a future, a call or a put.
Kind: TypeAlias = Literal["EQ", "INDEX", "FUT", "CE", "PE"]

#: A currency's price is told in ten-millionths of a rupee, every other one in paise.
_CURRENCY_UNIT = 10_000_000


@dataclass(frozen=True, slots=True)
class Listing:
    """One instrument under the names that the broker gives it; `price` and `tick` in units of a rupee."""

    #: The number that the wire carries.
    token: int
    exchange: str
    tradingsymbol: str
    name: str
    exchange_token: int
    #: The previous session's close, around which the market walks.
    price: int
    tick: int = 5
    lot: int = 1
    kind: Kind = "EQ"
    expiry: date | None = None
    strike: float = 0.0
    #: Units of a price in a rupee.
    unit: int = 100

    @property
    def key(self) -> str:
        """Exchange and trading symbol, as in NSE:INFY."""
        return f"{self.exchange}:{self.tradingsymbol}"

    @property
    def band(self) -> tuple[int, int]:
        """The lowest and the highest price at which it trades: a fifth around the close, as at exchanges.

        This also keeps prices positive and in 32 bits.
        """
        fifth = self.price // 5 // self.tick
        return max(self.tick, self.price - fifth * self.tick), self.price + max(10, fifth) * self.tick


class Naming(Protocol):
    """How the broker names what an exchange lists; a module of functions is one."""

    def token(self, exchange: str, kind: Kind, exchange_token: int, /) -> int:
        """Return the number, of its own in the list, by which the wire names an instrument."""
        ...

    def contract(self, name: str, kind: Kind, expiry: date, strike: float, /) -> str:
        """Return the trading symbol of a future or an option."""
        ...

    def index(self, name: str, /) -> tuple[str, str]:
        """Return exchange and trading symbol of an index of NSE."""
        ...

    def recorded(self, token: int, exchange: str, tradingsymbol: str, /) -> Listing:
        """Return the row of an instrument of which a tape tells no more than this."""
        ...


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
# Pair, price in ten-millionths of a rupee.
_CURRENCIES = (
    ("USDINR", 832_525_000),
    ("EURINR", 905_275_000),
    ("GBPINR", 1_063_450_000),
    ("JPYINR", 562_125_000),
)
_FIRST_GENERATED = {"NSE": 30_000, "NFO": 40_000, "CDS": 1_000}


def listings(count: int, today: date, naming: Naming) -> list[Listing]:
    """Return `count` instruments, the same for the same arguments: equities, then indices, NFO and CDS.

    A tenth are futures and options on indices; up to five indices and twelve currency futures come in
    from fifty instruments on. Contracts expire on the last Tuesday of this month or a later one.
    Raises ValueError for a count outside 1 to 200,000.
    """
    if not 1 <= count <= MOST_LISTINGS:
        raise ValueError(f"{count} instruments asked for; the simulator lists 1 to {MOST_LISTINGS}")
    indices = min(len(_INDICES), count // 50)
    currencies = min(3 * len(_CURRENCIES), count // 50)
    derivatives = count // 10
    equities = count - indices - currencies - derivatives
    expiries = monthly_expiries(today, 3)
    return [
        *itertools.islice(_equities(naming), equities),
        *itertools.islice(_indices(naming), indices),
        *itertools.islice(_derivatives(naming, expiries), derivatives),
        *itertools.islice(_currency_futures(naming, expiries), currencies),
    ]


def with_recorded(
    rows: Iterable[Listing], recorded: Iterable[tuple[int, str, str]], naming: Naming
) -> list[Listing]:
    """Return the rows, and one for each recorded token, exchange and symbol that they lack."""
    by_token = {row.token: row for row in rows}
    for token, exchange, symbol in recorded:
        by_token.setdefault(token, naming.recorded(token, exchange, symbol))
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


def _equities(naming: Naming) -> Iterator[Listing]:
    for symbol, name, number, price in itertools.chain(_EQUITIES, _generated()):
        yield Listing(naming.token("NSE", "EQ", number), "NSE", symbol, name, number, price)


def _generated() -> Iterator[tuple[str, str, int, int]]:
    for number in itertools.count(1):
        # Spread over 20 to 4,000 rupees without a random generator, so that a longer list starts like a
        # shorter one.
        price = 2_000 + number * 7_919 % 398_000 // 5 * 5
        yield f"SIM{number:04d}", f"SIMULATED {number}", _FIRST_GENERATED["NSE"] + number, price


def _indices(naming: Naming) -> Iterator[Listing]:
    for symbol, number, price in _INDICES:
        token = naming.token("NSE", "INDEX", number)
        yield Listing(token, *naming.index(symbol), symbol, number, price, lot=0, kind="INDEX")


def _derivatives(naming: Naming, expiries: Sequence[date]) -> Iterator[Listing]:
    for number, (name, kind, expiry, strike, price, lot) in enumerate(
        _contracts(expiries), _FIRST_GENERATED["NFO"]
    ):
        yield Listing(
            token=naming.token("NFO", kind, number),
            exchange="NFO",
            tradingsymbol=naming.contract(name, kind, expiry, strike),
            name=name,
            exchange_token=number,
            price=price,
            lot=lot,
            kind=kind,
            expiry=expiry,
            strike=strike,
        )


def _contracts(expiries: Sequence[date]) -> Iterator[tuple[str, Kind, date, float, int, int]]:
    """Yield underlying, kind, expiry, strike, price and lot: the futures, then options around the money."""
    for expiry in expiries:
        for name, spot, lot, _ in _UNDERLYINGS:
            yield name, "FUT", expiry, 0.0, spot, lot
    nearest_expiry = expiries[0]
    kinds: tuple[Kind, ...] = ("CE", "PE")
    for distance in itertools.count():
        for name, spot, lot, gap in _UNDERLYINGS:
            at_the_money = round(spot / 100 / gap) * gap
            for strike in sorted({at_the_money - distance * gap, at_the_money + distance * gap}):
                for kind in kinds if strike > 0 else ():
                    yield name, kind, nearest_expiry, strike, _option_price(spot, strike * 100, kind), lot


def _currency_futures(naming: Naming, expiries: Sequence[date]) -> Iterator[Listing]:
    numbers = itertools.count(_FIRST_GENERATED["CDS"])
    for expiry in expiries:
        for name, price in _CURRENCIES:
            number = next(numbers)
            yield Listing(
                token=naming.token("CDS", "FUT", number),
                exchange="CDS",
                tradingsymbol=naming.contract(name, "FUT", expiry, 0.0),
                name=name,
                exchange_token=number,
                price=price,
                tick=25_000,
                kind="FUT",
                expiry=expiry,
                unit=_CURRENCY_UNIT,
            )


def _option_price(spot: int, strike: int, kind: str) -> int:
    intrinsic = max(0, spot - strike if kind == "CE" else strike - spot)
    time_value = max(5, 20_000 - abs(spot - strike) // 5)
    return (intrinsic + time_value) // 5 * 5
