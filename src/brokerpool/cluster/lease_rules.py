"""Lease: whether this node holds an account, and what to write next; told the time, it does nothing itself.

Fencing has two halves. The store lets a write pass only on the revision that its writer has seen, so that of
two who want the account one gets it. And a holder counts by its own clock from the moment at which its last
renewal was *sent*, and has let go `margin` seconds before anybody else may take over, who counts the whole
time from the moment at which it has *seen* that renewal.
"""

from __future__ import annotations

from typing import NamedTuple

from brokerpool.cluster.durations import SKEW, Timing
from brokerpool.cluster.messages import FORMAT, LeaseValue


class Write(NamedTuple):
    """A write that is due: a key that must not exist where the revision is 0."""

    value: LeaseValue
    revision: int


class Taken(NamedTuple):
    """What is known of the holders before, by one who has just taken the account."""

    #: How many seconds ago each dial left that was told.
    dialled: tuple[float, ...] = ()
    #: For how many seconds they may have dialled besides, and how many seconds ago that ended.
    untold_seconds: float = 0.0
    quiet_seconds: float = 0.0
    #: Sockets that they may have open still.
    left_open: int = 0


class Lease:
    """One account's lease as one node sees it; times are monotonic seconds of that node.

    The store is read again and again, which `read` is told; what is due then is asked of `due`, and written:
    one write at a time, told to `sent` before it leaves and to `written` or `unknown` after.
    """

    def __init__(self, node: str, timing: Timing) -> None:
        self._node = node
        self._timing = timing
        #: What the store had at the last read; None where the key was not there.
        self.value: LeaseValue | None = None
        self._revision = 0
        #: Since when it has been the same one; None before the first read.
        self._same_since: float | None = None
        self._read_at = 0.0
        #: The epoch in which this node holds the account, 0 while it does not.
        self.epoch = 0
        #: What was known of those before when it took it.
        self.taken = Taken()
        #: How many sockets of those before may be open still; written with each renewal.
        self.left_open = 0
        self._known_epoch = 0
        #: The last epoch in which it held the account and has let go of it: as long as the store has a write
        #: of that epoch, nobody has had the account since, for none but this node renews it.
        self._gone_epoch = 0
        self._renewed_at = 0.0
        #: Whether a read may be older than what was written last: the store's answers come from replicas.
        self._reads_lag = False
        self._under_way: tuple[Write, float] | None = None

    # -- what the store says ------------------------------------------------------------------------------

    def read(self, value: LeaseValue | None, revision: int, now: float) -> None:
        """Note what the store has: what it had when the answer came, or some time before."""
        if self._reads_lag and self.epoch and 0 < revision < self._revision:
            return
        doubtful = self._under_way
        self._under_way = None
        # A store that has lost everything counts from 1 again: the revision alone tells too little. And no
        # revision tells whether somebody had the account between two looks that found nothing.
        unseen = value is None and now - self._read_at > 2 * self._timing.renewal
        self._read_at = now
        if self._same_since is None or unseen or (value, revision) != (self.value, self._revision):
            self._same_since = now
        before = self.value, self._same_since
        self.value, self._revision = value, revision
        if value is not None:
            self._known_epoch = max(self._known_epoch, value.epoch)
        if doubtful is not None and value == doubtful[0].value:
            self._took(doubtful[0], doubtful[1], before)
        elif self.epoch and value is not None and (value.node, value.epoch) != (self._node, self.epoch):
            self.let_go()  # another one has it; where the store has lost it, it is written anew in time

    def sent(self, write: Write, now: float) -> None:
        """Note that the write leaves now."""
        self._under_way = write, now

    def written(self, write: Write, revision: int | None, now: float) -> None:
        """Note what became of the write: its revision, or None where another one came first."""
        assert self._under_way is not None
        sent_at, self._under_way = self._under_way[1], None
        self._reads_lag = revision is not None
        if revision is None:
            self._same_since = None  # until the next read tells who has it
            return
        before = self.value, self._same_since
        self.value, self._revision, self._same_since = write.value, revision, now
        self._known_epoch = max(self._known_epoch, write.value.epoch)
        self._took(write, sent_at, before)

    def _took(self, write: Write, sent_at: float, before: tuple[LeaseValue | None, float | None]) -> None:
        if write.value.node != self._node:
            self.let_go()  # handed over
        if write.value.node != self._node or write.value.epoch <= self._gone_epoch:
            return  # a renewal that was late: what was let go of is taken again in an epoch of its own
        if write.value.epoch != self.epoch:
            self.taken = self._inherited(write.value.dials, *before, sent_at)
            self.left_open = self.taken.left_open
        self.epoch = write.value.epoch
        self._renewed_at = sent_at

    def _inherited(
        self, dialled: tuple[float, ...], value: LeaseValue | None, since: float | None, now: float
    ) -> Taken:
        if value is None or since is None:
            # Of others that held it before the store lost it nothing is known but that their time is over.
            return Taken(dialled, self._timing.lease, self._timing.quiet)
        if self._own(value):  # all of its dials are known, and that it has sent nothing since
            return Taken(dialled, 0.0, max(0.0, now - self.held_until) * (1 - SKEW), value.left_open)
        if self._passed_on(value):  # whoever wrote that had sent its last before
            return Taken(dialled, 0.0, 0.0, value.left_open)
        longer = max(0.0, now - since - self._timing.lease) * (1 - SKEW)  # than anybody has to wait
        return Taken(dialled, self._timing.lease, self._timing.quiet + longer, value.left_open)

    # -- holding ------------------------------------------------------------------------------------------

    @property
    def held_until(self) -> float:
        """When this node lets go unless a renewal comes first, or at the latest had let go."""
        return self._renewed_at + self._timing.lease - self._timing.margin

    def holds(self, now: float) -> bool:
        """Tell whether it is this node's at this moment; asked before anything leaves for its broker."""
        return self.epoch != 0 and now < self.held_until

    def let_go(self) -> None:
        """Hold it no longer; the store is not told."""
        if self.epoch:
            self._gone_epoch = self.epoch
        self.epoch = 0

    # -- what to do ---------------------------------------------------------------------------------------

    def due(self, now: float, *, wanted: bool, epoch: int = 1, dials: tuple[float, ...] = ()) -> Write | None:
        """Return what is to be written now: a renewal, or a takeover where the account is `wanted` and free.

        A new `epoch` is this one at least: epoch milliseconds, so that it is above all that were there before
        also where the store has lost them, and another holder's is never the same.
        `dials` are how many seconds ago each dial of this node left that counts in a window of the broker's.
        """
        if self._under_way is not None or self._same_since is None:
            return None
        if self.holds(now):
            if now < self._renewed_at + self._timing.renewal:
                return None
            return self._write(self._node, self.epoch, dials, self.left_open)
        # Nothing is taken on what was read long ago: a store that began anew may have come to that revision.
        if not wanted or now - self._read_at > self._timing.renewal or not self.free(now):
            return None
        value, epoch = self.value, max(self._known_epoch + 1, epoch)
        if value is None or self._own(value):
            ages = dials
        else:
            ages = tuple(age + now - self._same_since for age in value.dials)
        # Neither the broker nor the pool counts by the clock that they were told by, not even its own node's.
        told = tuple(age * (1 - SKEW) for age in ages)
        return self._write(self._node, epoch, told, value.left_open if value is not None else 0)

    def due_at(self, *, wanted: bool) -> float | None:
        """Return when something may be due, if nothing is read before; None where that is up to others."""
        if self._same_since is None:
            return None
        if self.epoch:
            return self._renewed_at + self._timing.renewal
        return self._same_since + self._timing.lease if wanted else None

    def free(self, now: float) -> bool:
        """Tell whether the account may be taken: nobody holds it, or its holder's time is over.

        That a value names this node says nothing by itself: it may not know yet that it holds the account.
        """
        if self._same_since is None:
            return False
        if self.value is not None and (self._passed_on(self.value) or self._own(self.value)):
            return True
        return now - self._same_since >= self._timing.lease

    def overdue(self, now: float) -> bool:
        """Tell whether it has been free for so long that whoever is to take it cannot."""
        if self.epoch or self._same_since is None:
            return False
        return now - self._same_since >= self._timing.lease + 2 * self._timing.renewal

    def _own(self, value: LeaseValue) -> bool:
        """Tell whether it is a renewal of this node's, which has let go since: maybe one that came late."""
        return (value.node, value.epoch) == (self._node, self._gone_epoch)

    def _passed_on(self, value: LeaseValue) -> bool:
        """Tell whether its holder has freed the account, or handed it over to this node."""
        return not value.node or (value.node == self._node and bool(value.handed_over_by))

    def given_up(self, now: float, dials: tuple[float, ...]) -> Write | None:
        """Return the write that frees the account; every socket must be closed before it leaves."""
        return self._write("", self.epoch, dials, 0) if self._may_pass_on(now) else None

    def handed_over(self, to: str, sockets: int, now: float, dials: tuple[float, ...]) -> Write | None:
        """Return the write that makes the account another node's, of whose sockets so many stay open a while.

        From before it leaves nothing may be sent to the broker any more, whatever becomes of the write.
        """
        if not self._may_pass_on(now):
            return None
        return self._write(to, self.epoch + 1, dials, sockets, self._node)

    def _may_pass_on(self, now: float) -> bool:
        return self.holds(now) and self._under_way is None

    def _write(
        self, node: str, epoch: int, dials: tuple[float, ...], left_open: int, handed_over_by: str = ""
    ) -> Write:
        count = self.value.count + 1 if self.value is not None else 1
        value = LeaseValue(FORMAT, node, epoch, count, dials, left_open, handed_over_by)
        return Write(value, self._revision)

    def __repr__(self) -> str:
        holder = self.value.node if self.value is not None else "nobody"
        return f"<Lease {'held' if self.epoch else f'of {holder}'}, epoch {self._known_epoch}>"
