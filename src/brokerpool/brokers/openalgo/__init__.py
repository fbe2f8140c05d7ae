"""OpenAlgo, and every gateway that speaks its client protocol: its feed, its REST and its instrument list."""

from brokerpool.brokers.openalgo.account import OpenAlgoFeed
from brokerpool.brokers.openalgo.codec import OpenAlgoWire
from brokerpool.brokers.openalgo.instruments import LoadedInstruments, fetch_instruments, load_instruments
from brokerpool.brokers.openalgo.rest import OpenAlgoRest
from brokerpool.brokers.openalgo.symbols import OpenAlgoBook

__all__ = [
    "LoadedInstruments",
    "OpenAlgoBook",
    "OpenAlgoFeed",
    "OpenAlgoRest",
    "OpenAlgoWire",
    "fetch_instruments",
    "load_instruments",
]
