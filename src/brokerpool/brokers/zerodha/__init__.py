"""Zerodha (Kite Connect v3): its feed, its wire format, its HTTP API and its instrument list."""

from brokerpool.brokers.zerodha.codec import KiteCodec
from brokerpool.brokers.zerodha.feed import ZerodhaFeed
from brokerpool.brokers.zerodha.instruments import LoadedInstruments, fetch_instruments, load_instruments
from brokerpool.brokers.zerodha.rest import ZerodhaRest

__all__ = [
    "KiteCodec",
    "LoadedInstruments",
    "ZerodhaFeed",
    "ZerodhaRest",
    "fetch_instruments",
    "load_instruments",
]
