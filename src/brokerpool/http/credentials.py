"""A new login after a refusal: asked for once, however many calls were refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from brokerpool.http.coalesce import SharedCalls

#: A new login that was tried is not tried again within so many seconds: a wrong password must not lock the
#: account, and a permission that is missing does not come with a token.
REFRESH_SECONDS = 30.0


class Credentials:
    """The headers that prove who calls, and the hook that renews them; `repr` shows neither."""

    def __init__(
        self,
        headers: Callable[[], Mapping[str, str]],
        refresh: Callable[[], Awaitable[None]] | None,
        clock: Callable[[], float],
    ) -> None:
        self._headers = headers
        self._refresh = refresh
        self._clock = clock
        self._refreshing: SharedCalls[int, None] = SharedCalls()
        self._tried_at: float | None = None
        #: Rises with each renewal, so that a call knows whether it was refused with what is in force.
        self.version = 0
        self.refreshes = 0

    def headers(self) -> Mapping[str, str]:
        """Return the headers of this moment; asked for again before every attempt."""
        return self._headers()

    async def renew(self, refused: int) -> bool:
        """Return whether there are newer credentials than version `refused`, after renewing them if need be.

        Callers who were refused together wait for one renewal. Raises what the hook raises.
        """
        if self.version > refused:
            return True
        if self._refresh is None:
            return False
        if not len(self._refreshing) and self._too_soon():
            return False
        await self._refreshing.run(refused, self._run)
        return True

    def _too_soon(self) -> bool:
        return self._tried_at is not None and self._clock() - self._tried_at < REFRESH_SECONDS

    async def _run(self) -> None:
        assert self._refresh is not None  # looked at before
        self._tried_at = self._clock()
        self.refreshes += 1
        await self._refresh()
        self.version += 1

    def __repr__(self) -> str:
        return f"<Credentials version {self.version}>"
