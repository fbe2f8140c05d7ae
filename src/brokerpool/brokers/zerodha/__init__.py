"""Zerodha (Kite Connect v3): its feed, its wire format, its HTTP API and its instrument list."""

from brokerpool.brokers.instrument_list_file import LoadedInstruments
from brokerpool.brokers.zerodha.account import ZerodhaFeed
from brokerpool.brokers.zerodha.codec import KiteWire
from brokerpool.brokers.zerodha.instruments import fetch_instruments, load_instruments
from brokerpool.brokers.zerodha.rest import ZerodhaRest

__all__ = [
    "KiteWire",
    "LoadedInstruments",
    "ZerodhaFeed",
    "ZerodhaRest",
    "fetch_instruments",
    "load_instruments",
]
