"""Candles of the past: invented minute by minute, the same for the same seed, token and day; pure.

Every longer candle is made of the minutes inside it, so all intervals tell the same story. Prices stay in
the band in which the market trades, and the session before the market's first day ends at the market's
previous close. What the market itself trades does not enter: also the candles of the current day are
invented, up to the last minute that has ended. Sessions are those of NSE on weekdays; holidays are not
known. Times are India's, without a zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from random import Random
from typing import NamedTuple

from brokerpool.simulator.listed_instruments import Listing

IST = timezone(timedelta(hours=5, minutes=30))

#: 09:15 to 15:30.
SESSION_OPEN, SESSION_MINUTES = time(9, 15), 375
#: Older days have no candles.
FIRST_DAY = date(2000, 1, 1)

_SATURDAY = 5
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
# The closes of the days lie within this share around the market's previous close.
_SPREAD_PERCENT = 3
_MOVES = (-3, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 3)


class Candle(NamedTuple):
    """Prices in units as the listing has them; open interest is 0 where there is none."""

    start: datetime
    open: int
    high: int
    low: int
    close: int
    volume: int
    oi: int


class History:
    """The candles of every listing."""

    def __init__(self, listings: Iterable[Listing], *, seed: int, clock: Callable[[], float]) -> None:
        self._listings = {listing.token: listing for listing in listings}
        self._seed = seed
        self._clock = clock
        self._last_session = _session_before(self._now().date())

    def candles(self, token: int, minutes: int, begin: datetime, end: datetime) -> list[Candle]:
        """Return the candles of so many minutes that start from `begin` to `end`, both included.

        One of all minutes of a session is its day's, and counts by its date. Raises ValueError for a token
        that does not exist and for a span that is negative.
        """
        listing = self._listings.get(token)
        if listing is None:
            raise ValueError(f"invalid token: {token}")
        if begin > end:
            raise ValueError(f"from ({begin}) is later than to ({end})")
        now = self._now()
        day, last = max(begin.date(), FIRST_DAY), min(end, now).date()
        found: list[Candle] = []
        while day <= last:
            if day.weekday() < _SATURDAY:
                session = [candle for candle in self._session(listing, day) if candle.start + _MINUTE <= now]
                found += _merged(session, minutes)
            day += _DAY
        if minutes == SESSION_MINUTES:
            return [candle._replace(start=datetime.combine(candle.start, time())) for candle in found]
        return [candle for candle in found if begin <= candle.start <= end]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC).astimezone(IST).replace(tzinfo=None)

    def _session(self, listing: Listing, day: date) -> list[Candle]:
        """Walk from the previous close to this day's, minute by minute."""
        rng = self._random(listing, f"minutes of {day}")
        bits = [rng.getrandbits(32) for _ in range(SESSION_MINUTES)]
        tick, (floor, ceiling) = listing.tick, listing.band
        price = before = self._close(listing, _session_before(day))
        # Where the walk would end is chance; the rest of the way to the close is spread over all minutes.
        walk, drift = 0, (self._close(listing, day) - before) // tick - sum(_MOVES[b & 15] for b in bits)
        oi, lot = self._open_interest(listing), max(1, listing.lot)
        start = datetime.combine(day, SESSION_OPEN)
        candles: list[Candle] = []
        for number, drawn in enumerate(bits, 1):
            walk += _MOVES[drawn & 15]
            opening = price
            price = min(ceiling, max(floor, before + (walk + drift * number // SESSION_MINUTES) * tick))
            high = min(ceiling, max(opening, price) + (drawn >> 4 & 3) * tick)
            low = max(floor, min(opening, price) - (drawn >> 6 & 3) * tick)
            volume = 0 if listing.kind == "INDEX" else (drawn >> 8 & 0xFF) * lot
            if listing.expiry is not None:
                oi = max(0, oi + ((drawn >> 16) % 3 - 1) * lot)
            candles.append(Candle(start, opening, high, low, price, volume, oi))
            start += _MINUTE
        return candles

    def _close(self, listing: Listing, day: date) -> int:
        if day == self._last_session:
            return listing.price
        floor, ceiling = listing.band
        most = max(1, listing.price * _SPREAD_PERCENT // 100 // listing.tick)
        away = self._random(listing, f"close of {day}").randint(-most, most) * listing.tick
        return min(ceiling, max(floor, listing.price + away))

    def _open_interest(self, listing: Listing) -> int:
        if listing.expiry is None:
            return 0
        return self._random(listing, "open interest").randint(1_000, 100_000) * listing.lot

    def _random(self, listing: Listing, purpose: str) -> Random:
        # Seeded by text: unlike hash(), that is the same in every process.
        return Random(f"{self._seed} {listing.token} {purpose}")


def _session_before(day: date) -> date:
    day -= _DAY
    while day.weekday() >= _SATURDAY:
        day -= _DAY
    return day


def _merged(session: Sequence[Candle], minutes: int) -> list[Candle]:
    parts = (session[at : at + minutes] for at in range(0, len(session), minutes))
    return [
        Candle(
            part[0].start,
            part[0].open,
            max(candle.high for candle in part),
            min(candle.low for candle in part),
            part[-1].close,
            sum(candle.volume for candle in part),
            part[-1].oi,
        )
        for part in parts
    ]
