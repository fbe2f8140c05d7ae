"""Asks for new credentials when the present ones were refused, and shortly before they expire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from brokerpool.brokers.login import Login
from brokerpool.brokers.retry_pacing import SHORTEST_SECONDS
from brokerpool.callback_isolation import Fence

#: How long before the known end of a token the next one is asked for; half of what is left of it when that is
#: less, for a token that lives shorter must not be renewed without a pause.
AHEAD_SECONDS = 300.0


class Renewal:
    """Keeps asking the login's provider while that is called for; without a provider it does nothing.

    The login says how soon after a failure it may be asked again.
    """

    def __init__(self, login: Login, wall_clock: Callable[[], float], fence: Fence | None = None) -> None:
        self._login = login
        self._fence = fence or Fence("login")
        self._wall_clock = wall_clock
        self._task: asyncio.Task[None] | None = None
        self._asking = False

    def look(self) -> None:
        """Begin anew with the login as it stands: to be called after each change of it."""
        if self._asking:
            return  # it looks by itself once it has its answer, which it must not lose
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._login.renewable and self._due() is not None:
            renewing = self._fence.supervise(self._renew, lambda: SHORTEST_SECONDS, name="renewal")
            self._task = asyncio.create_task(renewing, name="brokerpool renewal")

    def end(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        """Return once no task is left."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def _due(self) -> float | None:
        """Return the seconds until the provider is to be asked, None when it never is."""
        if self._login.refused:
            return 0.0
        expires_at = self._login.credentials.expires_at
        if expires_at is None:
            return None
        left = expires_at - self._wall_clock()
        return max(0.0, left - min(AHEAD_SECONDS, left / 2))

    async def _renew(self) -> None:
        while (due := self._due()) is not None:
            # Slept through on the loop's clock: a jump of the wall clock must not ask for a new login.
            await asyncio.sleep(max(due, self._login.rest))
            self._asking = True
            try:
                await self._login.refresh()
            finally:
                self._asking = False
