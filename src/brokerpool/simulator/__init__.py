"""A broker on your own machine: the real wire protocol, the real limits, and faults on command."""

from typing import TYPE_CHECKING

from brokerpool.lazy_imports import attributes

if TYPE_CHECKING:
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
    from brokerpool.simulator.fault_switches import (
        BreakHttp,
        ExpireToken,
        FaultOrder,
        Faults,
        Malformation,
        Malformed,
        Mute,
        Refuse,
    )
    from brokerpool.simulator.openalgo.broker import OpenAlgoSimulator
    from brokerpool.simulator.openalgo.fault_switches import OpenAlgoFaults, OpenAlgoOrder
    from brokerpool.simulator.run import simulate
    from brokerpool.simulator.zerodha.broker import KiteSimulator

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
    "OpenAlgoFaults",
    "OpenAlgoOrder",
    "OpenAlgoSimulator",
    "Refuse",
    "ResetPeer",
    "Slicer",
    "SlowClose",
    "Timeout",
    "Toxic",
    "simulate",
]

#: The names of each module, loaded when they are asked for: whoever names no broker loads none.
_HOMES = {
    "fault_proxy.proxy": "FaultProxy",
    "fault_proxy.toxics": "Bandwidth Latency LimitData ResetPeer Slicer SlowClose Timeout Toxic",
    "fault_switches": "BreakHttp ExpireToken FaultOrder Faults Malformation Malformed Mute Refuse",
    "openalgo.broker": "OpenAlgoSimulator",
    "openalgo.fault_switches": "OpenAlgoFaults OpenAlgoOrder",
    "run": "simulate",
    "zerodha.broker": "KiteSimulator",
}

if not TYPE_CHECKING:  # who checks types sees the imports above, and a wrong name
    __getattr__ = attributes(
        __name__, {name: home for home, names in _HOMES.items() for name in names.split()}
    )
