"""A broker on your own machine: the real wire protocol, the real limits, and faults on command."""

from brokerpool.simulator.fault_proxy.proxy import FaultProxy
from brokerpool.simulator.fault_proxy.toxics import (
    Bandwidth,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)
from brokerpool.simulator.faults import (
    BreakHttp,
    ExpireToken,
    FaultOrder,
    Faults,
    Malformed,
    Mute,
    Refuse,
)
from brokerpool.simulator.run import simulate
from brokerpool.simulator.zerodha.broker import KiteSimulator
from brokerpool.simulator.zerodha.wire import Malformation

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
