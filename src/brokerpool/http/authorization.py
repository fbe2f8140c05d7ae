"""The headers that prove who calls, and one question for a new login, however many calls were refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from brokerpool.brokers.login import Credentials, Login

#: A provider that has answered is not asked again by a call within so many seconds: a wrong password must not
#: lock the account.
ASK_SECONDS = 30.0


class Authorization:
    """Proves calls with the present version of a login, which other pools of the account may share.

    Once the broker has refused a version, no call leaves with it.
    """

    def __init__(
        self,
        login: Login,
        headers: Callable[[Credentials], Mapping[str, str]],
        clock: Callable[[], float],
    ) -> None:
        self._login = login
        self._headers = headers
        self._clock = clock
        self._asked_at: float | None = None

    @property
    def version(self) -> int:
        """The version that `headers` proves."""
        return self._login.version

    @property
    def refused(self) -> bool:
        """True while the broker refuses the present version."""
        return self._login.refused

    def headers(self) -> Mapping[str, str]:
        """Return the headers of this moment."""
        return self._headers(self._login.credentials)

    async def usable(self) -> bool:
        """Tell whether a call makes sense: the version is not refused, or there is a newer one now."""
        return not self._login.refused or await self._ask()

    async def renewed(self, refused: int) -> bool:
        """Note that the broker refused a version, and tell whether there is a newer one now."""
        self._login.refuse(refused)
        return self._login.version > refused or await self._ask()

    async def _ask(self) -> bool:
        lately = self._asked_at is not None and self._clock() - self._asked_at < ASK_SECONDS
        if lately and not self._login.asking:
            return False
        renewed = await self._login.refresh()
        self._asked_at = self._clock()
        return renewed

    def __repr__(self) -> str:
        return f"<Authorization version {self.version}>"
