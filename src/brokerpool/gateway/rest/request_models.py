"""The requests as clients send them; what is unknown in them is ignored."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, FailFast, Field, SecretStr

from brokerpool.instruments import EXCHANGES, Instrument

#: Exchanges with contracts that expire.
CONTRACT_EXCHANGES = ("NFO", "BFO", "MCX", "CDS", "NCO", "BCD", "NCDEX", "CRYPTO")


def _one_of(text: str, names: frozenset[str]) -> str:
    if text.upper() not in names:
        raise ValueError(f"must be one of: {', '.join(sorted(names))}")
    return text


def _day(value: object) -> date:
    # Stricter than pydantic, which takes seconds since the epoch for a date as well.
    try:
        if isinstance(value, str) and len(value) == len("2025-04-24"):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError("must be a day as YYYY-MM-DD")


#: In any case; echoed as it was sent.
Exchange = Annotated[
    str,
    AfterValidator(lambda text: _one_of(text, EXCHANGES)),
    Field(json_schema_extra={"enum": sorted(EXCHANGES)}),
]
ContractExchange = Annotated[
    str,
    AfterValidator(lambda text: _one_of(text, frozenset(CONTRACT_EXCHANGES))),
    Field(json_schema_extra={"enum": list(CONTRACT_EXCHANGES)}),
]
Symbol = Annotated[str, Field(min_length=1, max_length=256)]
ApiKey = Annotated[SecretStr, Field(min_length=1, max_length=256)]
Day = Annotated[
    date,
    BeforeValidator(_day, json_schema_input_type=Annotated[str, Field(json_schema_extra={"format": "date"})]),
]
Interval = Annotated[str, Field(min_length=1, max_length=8)]


class Keyed(BaseModel):
    """Every POST carries a key."""

    apikey: ApiKey


class Pair(BaseModel):
    """A symbol and its exchange in OpenAlgo's spelling."""

    symbol: Symbol
    exchange: Exchange

    @property
    def instrument(self) -> Instrument:
        """The instrument that is meant."""
        return Instrument(self.exchange.upper(), self.symbol)


class SymbolRequest(Keyed, Pair):
    """Of quotes, depth and symbol."""


class MultiQuotesRequest(Keyed):
    """Several symbols at once."""

    # The first fault is told and ends the check: a list of faults would be many times the list.
    symbols: Annotated[list[Pair], FailFast(), Field(min_length=1)]


class HistoryRequest(Keyed, Pair):
    """Candles of the days from `start_date` to `end_date`, both included."""

    interval: Interval
    start_date: Day
    end_date: Day
    #: "db" asks for OpenAlgo's own database of candles, which the gateway has not.
    source: Literal["api", "db"] = "api"


class SearchRequest(Keyed):
    """Words that symbol or name contain."""

    query: Symbol
    exchange: Exchange | None = None


class ExpiryRequest(Keyed):
    """The underlying of contracts, such as NIFTY."""

    symbol: Symbol
    exchange: ContractExchange
    instrumenttype: Literal["futures", "options"]
