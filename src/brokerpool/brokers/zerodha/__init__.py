"""Zerodha (Kite Connect v3): its feed, its wire format and its instrument list."""

from brokerpool.brokers.zerodha.codec import KiteCodec
from brokerpool.brokers.zerodha.feed import ZerodhaFeed
from brokerpool.brokers.zerodha.instruments import LoadedInstruments, fetch_instruments, load_instruments

__all__ = ["KiteCodec", "LoadedInstruments", "ZerodhaFeed", "fetch_instruments", "load_instruments"]
