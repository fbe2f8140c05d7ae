"""The faults that only OpenAlgo can have, beside those of every simulated broker; pure state."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from brokerpool.simulator.fault_switches import MAX_LATENCY_MS, FaultOrder, Faults

#: How the broker behind OpenAlgo writes its ticks; see `wire.VARIETIES`.
Variety: TypeAlias = Literal["plain", "seconds", "aliases", "sparse"]


class OpenAlgoOrder(FaultOrder, forbid_unknown_fields=True):
    """Switches to be thrown together: all of them are understood before the first takes effect."""

    #: EXCHANGE:SYMBOL -> why it is refused; every other symbol is accepted, whether it is listed or not.
    refuse_symbols: dict[str, str] | UnsetType | None = UNSET
    #: How long a right key waits for its answer.
    login_delay_ms: Annotated[float, Meta(ge=0, le=MAX_LATENCY_MS)] | UnsetType = UNSET
    #: True: meanwhile nobody else is served either, as by a server that waits in its event loop.
    login_blocks: bool | UnsetType = UNSET
    #: True: the broker behind cannot be had: no ticks, a login and a subscribe are answered with errors.
    broker_gone: bool | UnsetType = UNSET
    #: How often each order update is sent.
    repeat_updates: Annotated[int, Meta(ge=1, le=100)] | UnsetType = UNSET
    #: The members of ticks.
    variety: Variety | UnsetType = UNSET
    #: True: a tick is published once for each mode that anybody has, and clients of lower modes get them all.
    topic_per_mode: bool | UnsetType = UNSET


class OpenAlgoFaults(Faults):
    """Which faults are on."""

    STATES = (
        *Faults.STATES,
        "refuse_symbols",
        "login_delay_ms",
        "login_blocks",
        "broker_gone",
        "repeat_updates",
        "variety",
        "topic_per_mode",
    )

    def __init__(self) -> None:
        super().__init__()
        self.refuse_symbols: dict[str, str] | None = None
        self.login_delay_ms = 0.0
        self.login_blocks = False
        self.broker_gone = False
        self.repeat_updates = 1
        self.variety: Variety = "plain"
        self.topic_per_mode = False

    def muted(self, socket: int) -> bool:
        """Tell whether a socket gets no ticks at all."""
        return self.broker_gone or super().muted(socket)
