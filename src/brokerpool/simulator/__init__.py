"""A broker on your own machine: the real wire protocol, the real limits, and faults on command."""

from brokerpool.simulator.faults import ExpireToken, FaultOrder, Faults, Malformed, Mute, Refuse
from brokerpool.simulator.kite_wire import Malformation
from brokerpool.simulator.run import simulate
from brokerpool.simulator.zerodha import KiteSimulator

__all__ = [
    "ExpireToken",
    "FaultOrder",
    "Faults",
    "KiteSimulator",
    "Malformation",
    "Malformed",
    "Mute",
    "Refuse",
    "simulate",
]
