"""What all sockets of one account share: the permits, the line in front of them, and the message budget."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from random import Random

from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Login
from brokerpool.callback_isolation import Fence
from brokerpool.event_journal import Event, Journal
from brokerpool.feed.backoff import Backoff
from brokerpool.feed.dial_permits import FOLLOW_SECONDS, DialBudget, DialPermit
from brokerpool.feed.login_renewal import Renewal
from brokerpool.feed.sending_permission import ALONE, Permission
from brokerpool.feed.sliding_window_pacer import ReservingPacer


class AccountLimits:
    """Hands out permits, first come first served, and none while the credentials are known to be dead."""

    def __init__(
        self,
        login: Login,
        limits: FeedLimits,
        max_sockets: int,
        random: Random,
        journal: Journal,
        wall_clock: Callable[[], float],
        name: str = "account",
        permission: Permission = ALONE,
    ) -> None:
        self.login = login
        #: Whether anything may leave for the broker at this moment.
        self.permission = permission
        #: Around what the account's adapter and listeners do, and the tasks of its sockets.
        self.fence = Fence(name, lambda reason: journal.note(Event.FAULT, reason=reason))
        #: Control messages over all sockets.
        self.messages = ReservingPacer(limits.account_messages, pings_counted=limits.pings_counted)
        #: Held by the socket whose message is the next: first come, first served.
        self.line = asyncio.Lock()
        self.budget = DialBudget(limits.dials, max_sockets, random)
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        for age in permission.dials_before(limits.dials):
            self.budget.assume(now - age)
            permission.dialling(age)
        for age in permission.messages_before(limits.account_messages):
            self.messages.spend(now - age)
        self._line: deque[asyncio.Future[DialPermit | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._follows: dict[int, asyncio.TimerHandle] = {}
        #: Set when somebody says that all is well, and another one from then on.
        self._forgiven = asyncio.Event()
        self._usable = asyncio.Event()
        self._usable.set()
        self._version = login.version
        self._ended = False
        self._renewal = Renewal(login, wall_clock, self.fence)
        login.watch(self._login_changed)
        self._login_changed()

    # -- permits --------------------------------------------------------------------------------------------

    async def permit(self) -> DialPermit | None:
        """Wait for a permit and the moment to dial; None when the credentials are dead.

        The permit must be given back by exactly one of `failed`, `lost` and `withdraw`; to withdraw one that
        was given back already does nothing.
        """
        if self.login.refused:
            return None
        waiter: asyncio.Future[DialPermit | None] = self._loop.create_future()
        self._line.append(waiter)
        self._admit()
        try:
            permit = await waiter
        except asyncio.CancelledError:
            if waiter in self._line:
                self._line.remove(waiter)
            elif not waiter.cancelled() and (permit := waiter.result()) is not None:
                self.withdraw(permit)  # given in the very turn in which the caller was cancelled
            raise
        if permit is not None and self.login.refused:  # in the very turn in which it was given
            self.withdraw(permit)
            return None
        return permit

    def failed(self, permit: DialPermit, *, retry_after: float, busy: bool) -> None:
        """No socket came of the dial; see `DialBudget.failed`."""
        self.budget.failed(permit, self._loop.time(), retry_after=retry_after, busy=busy)
        self._admit()

    def opened(self, permit: DialPermit) -> None:
        """A socket is open; when it has stood for a second, others may follow."""
        self._follows[id(permit)] = self._loop.call_later(FOLLOW_SECONDS, self._trust, permit)

    def lost(self, permit: DialPermit, lived: float) -> None:
        """A socket is gone after `lived` seconds."""
        self._forget(permit)
        self.budget.ended(permit, self._loop.time(), lived=lived)
        self._admit()

    def withdraw(self, permit: DialPermit) -> None:
        """The dial is not made, or we gave the socket up."""
        if permit.given_back:
            return
        self._forget(permit)
        self.budget.withdraw(permit)
        self._admit()

    def evicted(self, permit: DialPermit) -> None:
        """A socket that still has its permit was thrown out for another one of the account."""
        self.budget.evict(permit, self._loop.time())

    async def rest(self, backoff: Backoff) -> None:
        """Wait until a connection may try again, at most until somebody says that all is well."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff.next()):
                await self._forgiven.wait()
                backoff.reset()

    def forgive(self) -> None:
        """Dial as if nothing had happened: somebody says that all is well."""
        self._forgiven.set()
        self._forgiven = asyncio.Event()
        self.budget.forgive()
        self._admit()

    # -- credentials --------------------------------------------------------------------------------------

    async def usable(self) -> None:
        """Return once there are credentials that the broker has not refused."""
        await self._usable.wait()

    def end(self) -> None:
        """Give no permit any more and leave no timer behind; those that are taken may still be given back."""
        self._ended = True
        self.login.unwatch(self._login_changed)
        for timer in (self._timer, *self._follows.values()):
            if timer is not None:
                timer.cancel()
        self._renewal.end()

    async def ended(self) -> None:
        """Return once no task is left."""
        await self._renewal.ended()

    # -- inside -------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._line and not self._ended:
            now = self._loop.time()
            if not self.permission.holds():
                return  # and never again: whoever took it back ends the pool
            wait = self.budget.wait(now, self.permission.left_open())
            if wait:
                self._timer = self._loop.call_later(wait, self._admit)
            if wait != 0:
                return
            waiter = self._line.popleft()
            if not waiter.done():
                waiter.set_result(self.budget.take(now))

    def _trust(self, permit: DialPermit) -> None:
        del self._follows[id(permit)]
        self.budget.trust(permit)
        self._admit()

    def _forget(self, permit: DialPermit) -> None:
        timer = self._follows.pop(id(permit), None)
        if timer is not None:
            timer.cancel()

    def _login_changed(self) -> None:
        if self.login.refused:
            self._usable.clear()
            line, self._line = self._line, deque()
            for waiter in line:
                if not waiter.done():
                    waiter.set_result(None)
        else:
            self._usable.set()
        if self.login.version != self._version:
            self._version = self.login.version
            self._journal.note(Event.RENEWED, reason=f"credentials version {self._version}")
            self.forgive()
        self._renewal.look()
