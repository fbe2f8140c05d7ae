"""The faults that only Angel can have, beside those of every simulated broker; pure state."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, UnsetType

from brokerpool.simulator.fault_switches import FaultOrder, Faults

#: How the HTTP API says that a token has died: expired, invalid, or its session expired.
DeadCode: TypeAlias = Literal["AG8002", "AG8001", "AB1010"]


class AngelOrder(FaultOrder, forbid_unknown_fields=True):
    """Switches to be thrown together: all of them are understood before the first takes effect."""

    #: The code of calls with a token that has died.
    dead_code: DeadCode | UnsetType = UNSET
    #: True: a socket too many is let in and closed at once, instead of being refused with 429.
    closes_extra: bool | UnsetType = UNSET


class AngelFaults(Faults):
    """Which faults are on."""

    STATES = (*Faults.STATES, "dead_code", "closes_extra")

    def __init__(self) -> None:
        super().__init__()
        self.dead_code: DeadCode = "AG8002"
        self.closes_extra = False
