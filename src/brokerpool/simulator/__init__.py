"""A broker on your own machine: the real wire protocol, the real limits, and faults on command."""

from brokerpool.simulator.faults import (
    BreakHttp,
    ExpireToken,
    FaultOrder,
    Faults,
    Malformed,
    Mute,
    Refuse,
)
from brokerpool.simulator.kite_wire import Malformation
from brokerpool.simulator.proxy import FaultProxy
from brokerpool.simulator.run import simulate
from brokerpool.simulator.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)
from brokerpool.simulator.zerodha import KiteSimulator

__all__ = [
    "Bandwidth",
    "BreakHttp",
    "ExpireToken",
    "FaultOrder",
    "FaultProxy",
    "Faults",
    "KiteSimulator",
    "Latency",
    "LimitData",
    "Malformation",
    "Malformed",
    "Mute",
    "Refuse",
    "ResetPeer",
    "Slicer",
    "SlowClose",
    "Timeout",
    "Toxic",
    "simulate",
]
