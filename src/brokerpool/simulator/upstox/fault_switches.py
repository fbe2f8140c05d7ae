"""The faults that only Upstox can have, beside those of every simulated broker; pure state."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from brokerpool.simulator.fault_switches import FaultOrder, Faults


class UpstoxOrder(FaultOrder, forbid_unknown_fields=True):
    """Switches to be thrown together: all of them are understood before the first takes effect."""

    #: True: a call over the rates is told so in an answer of status 200, as users have seen it.
    too_fast_as_success: bool | UnsetType = UNSET


class UpstoxFaults(Faults):
    """Which faults are on."""

    STATES = (*Faults.STATES, "too_fast_as_success")

    def __init__(self) -> None:
        super().__init__()
        self.too_fast_as_success = False
