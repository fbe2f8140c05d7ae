"""Keeps one account's lease: reads and writes it when `Lease` says so, and tells what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from brokerpool.cluster.bus import BusError, Entry, Store
from brokerpool.cluster.durations import Timing
from brokerpool.cluster.lease_rules import Lease, Write
from brokerpool.cluster.messages import Decoder, LeaseValue, encode
from brokerpool.cluster.subjects import lease_key

logger = logging.getLogger("brokerpool.cluster")

#: Dials older than this count in no broker's window; so many of them are remembered.
_DIAL_SECONDS, _MOST_DIALS = 120.0, 200
_decode = Decoder(LeaseValue)


class Holder(Protocol):
    """Who is told; calls come on the event loop and must return quickly."""

    def taken(self, account: str) -> None:
        """The account is this node's from now on."""
        ...

    def lost(self, account: str, reason: str) -> None:
        """It is not any more: begin to close every socket; nothing can leave through them meanwhile."""
        ...


class LeaseKeeper:
    """One account's lease at work, in a task of its own from `start` to `end`."""

    def __init__(
        self,
        account: str,
        lease: Lease,
        store: Store,
        holder: Holder,
        timing: Timing,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """`clock` gives monotonic seconds, also of time in which the process was stopped."""
        self.account = account
        self.lease = lease
        #: Whether this node is to take the account when it is free.
        self.wanted = False
        self._store = store
        self._holder = holder
        self._timing = timing
        self._clock = clock
        self._wall_clock = wall_clock
        self._key = lease_key(account)
        self._told = False
        self._frozen = False
        self._dials: deque[float] = deque(maxlen=_MOST_DIALS)
        self._nudged = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None
        self._busy = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._watching = store.watch(self._key, self._changed)

    def start(self) -> None:
        """Take part from now on."""
        self._task = asyncio.create_task(self._run(), name=f"brokerpool lease {self.account}")

    def end(self) -> None:
        """Hold it no longer and leave no timer behind; the store is not told."""
        self._watching.close()
        self._lose("the node ends")
        if self._task is not None:
            self._task.cancel()

    # -- the permission -----------------------------------------------------------------------------------

    def holds(self) -> bool:
        """Tell whether anything may leave for the broker at this moment."""
        return not self._frozen and self.lease.holds(self._clock())

    def dialled(self, age: float) -> None:
        """Note that a dial left so many seconds ago."""
        self._dials.append(self._clock() - age)

    def nudge(self) -> None:
        """Look at the store at once."""
        self._nudged.set()

    # -- passing it on ------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Let nothing leave for the broker any more, until `thaw`."""
        self._frozen = True

    def thaw(self) -> None:
        """Take part again: every socket of the account is closed."""
        self._frozen = self._told = False
        self.lease.let_go()

    async def give_up(self) -> bool:
        """Free the account for anybody, every socket being closed; tell whether that was written."""
        self.freeze()
        return await self._pass_on("", 0)

    async def hand_over(self, node: str, sockets: int) -> bool:
        """Make it another node's, while so many sockets stay open; tell whether that was written.

        Nothing leaves for the broker any more from before it is written, whatever becomes of it.
        """
        self.freeze()
        return await self._pass_on(node, sockets)

    async def _pass_on(self, node: str, sockets: int) -> bool:
        async with self._busy:
            now, dials = self._clock(), self._dial_ages()
            if node:
                write = self.lease.handed_over(node, sockets, now, dials)
            else:
                write = self.lease.given_up(now, dials)
            return write is not None and await self._write(write)

    # -- inside -------------------------------------------------------------------------------------------

    def _changed(self, entry: Entry) -> None:
        if self.lease.value is None or entry.value is None or _decode(entry.value) != self.lease.value:
            self._nudged.set()

    async def _run(self) -> None:
        while True:
            async with self._busy:
                try:
                    await self._step()
                except BusError as error:
                    logger.debug("account %s: %s", self.account, error)
                except Exception:  # the lease runs out unless a later step does better
                    logger.exception("account %s: unexpected error while its lease was kept", self.account)
            self._tell()
            due = self.lease.due_at(wanted=self.wanted)
            wait = self._timing.renewal
            if due is not None:
                wait = min(wait, max(0.0, due - self._clock()))
            self._nudged.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(wait, _SHORTEST)):
                    await self._nudged.wait()

    async def _step(self) -> None:
        """Write what is due; where nothing is, or the last write is in doubt, read what there is."""
        write = self._due()
        if write is None or not await self._write(write):
            found = await self._store.get(self._key)
            value = _decode(found.value) if found is not None and found.value is not None else None
            self.lease.read(value, found.revision if found is not None else 0, self._clock())
            self._tell()
            if (write := self._due()) is not None:
                await self._write(write)

    def _due(self) -> Write | None:
        if self._frozen:
            return None
        epoch = int(self._wall_clock() * 1000)
        return self.lease.due(self._clock(), wanted=self.wanted, epoch=epoch, dials=self._dial_ages())

    async def _write(self, write: Write) -> bool:
        """Write, and tell whether it is known to be written."""
        self.lease.sent(write, self._clock())
        value = encode(write.value)
        if write.revision == 0:
            revision = await self._store.create(self._key, value)
        else:
            revision = await self._store.update(self._key, value, write.revision)
        self.lease.written(write, revision, self._clock())
        self._tell()
        return revision is not None

    def _dial_ages(self) -> tuple[float, ...]:
        now = self._clock()
        return tuple(round(now - at, 3) for at in self._dials if now - at < _DIAL_SECONDS)

    def _tell(self) -> None:
        """Tell the holder what has changed, and be told when the time is over."""
        now = self._clock()
        if self.lease.holds(now):
            if not self._told and not self._frozen:
                self._told = True
                self._dials.clear()  # those before are told by whoever assumes them
                self._holder.taken(self.account)
            self._set_expiry(self.lease.held_until - now)
        elif self._told and not (self._frozen and self.lease.epoch == 0):
            self._lose("its lease could not be renewed in time")

    def _set_expiry(self, seconds: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_later(max(0.0, seconds), self._tell)

    def _lose(self, reason: str) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self.lease.let_go()
        if self._told:
            self._told = False
            self._holder.lost(self.account, reason)


#: Between two looks at the store at least.
_SHORTEST = 0.01
