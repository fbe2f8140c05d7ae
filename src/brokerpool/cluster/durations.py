"""How long things take in a cluster; all nodes and gateways of one are given the same.

After an outage of the bus everything ticks again within five seconds of its return, for it is the sum of
these at most, each with its own bound:

    2.25 s  a dial that hung when the bus returned, and the pause before the next one (`nats_connection`); of
            a server that refuses, as one that was killed does, it is the pause alone: 0.25 s
    0.5 s   until the lease is read and written (`renewal`); that of whoever had it is free at once
    1.0 s   until a gateway has asked for a snapshot and given a sign (`request`), in the same time in which
            the account's pool dials its broker and asks for all that is wanted

Dials at the broker are not held back by what was sent before an outage that was longer than a lease, since
how long nothing was sent is known. With several servers that hang and do not return, each is a dial more.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Any two clocks run apart by less than this share of the time.
SKEW = 0.05


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; the defaults let a standby take over within 5 s of a crash.

    Raises ValueError where a lease could not be renewed in time, or could be held by two.
    """

    #: After so long without a renewal an account may be taken over.
    lease: float = 3.0
    #: So much earlier its holder has let go of it by its own clock: what clocks may differ by in that time,
    #: and what a message that has left may be under way.
    margin: float = 1.0
    #: Between two renewals of a lease, and between two signs of life of a node.
    renewal: float = 0.5
    #: A gateway whose sign of life stood still for so long wants nothing any more.
    gateway_life: float = 5.0
    #: Between two signs of life of a gateway.
    gateway_renewal: float = 1.0
    #: Between two messages of a shard at least: what ticks meanwhile is in the next one. Where the broker's
    #: messages come a millisecond apart each leaves at once; where they come faster they leave together.
    flush: float = 0.0005
    #: Between two messages of a shard at most.
    keep_alive: float = 0.5
    #: A shard that was silent for so long is dark.
    dark: float = 1.5
    #: What one question over the bus may take.
    request: float = 1.0
    #: A want that no feed node has answered for so long ends with an error.
    answer: float = 10.0
    #: A holder that hands over keeps its sockets open for so long at most until its successor is live.
    hand_over: float = 10.0

    @property
    def quiet(self) -> float:
        """How long ago a holder whose lease ran out sent its last when somebody else takes over, at least."""
        return self.margin - SKEW * (2 * self.lease - self.margin)

    def __post_init__(self) -> None:
        if not 0 < 2 * self.renewal <= self.lease - self.margin or self.margin <= 0:
            text = f"a lease of {self.lease:g} s less {self.margin:g} s must have time for two renewals"
            raise ValueError(f"{text} of {self.renewal:g} s")
        if self.quiet <= 0:
            raise ValueError(f"{self.margin:g} s of margin are too few for clocks over {self.lease:g} s")
        if not 0 < 2 * self.gateway_renewal <= self.gateway_life:
            text = f"a gateway's life of {self.gateway_life:g} s must have time for two signs of it"
            raise ValueError(f"{text}, {self.gateway_renewal:g} s apart")
        if not 0 < 2 * self.keep_alive <= self.dark:
            text = f"a shard is dark after {self.dark:g} s, which must be two messages' time"
            raise ValueError(f"{text} of {self.keep_alive:g} s")


#: Shards of an account's ticks: a gateway takes those in which it has symbols. With more of them each message
#: has fewer ticks and costs as much: at 20,000 ticks/s sixteen doubled the slowest hundredth's delay.
SHARDS = 4
