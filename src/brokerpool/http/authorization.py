"""The headers that prove who calls, and the question for a new login when they prove nothing any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from brokerpool.brokers.login import Credentials, Login


class Authorization:
    """Proves calls with the present version of a login, which other pools of the account may share.

    Once the broker has refused a version, no call leaves with it. While the login's provider rests, a call
    waits for nothing.
    """

    def __init__(self, login: Login, headers: Callable[[Credentials], Mapping[str, str]]) -> None:
        self._login = login
        self._headers = headers

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
        return not self._login.refused or await self._login.refresh()

    async def renewed(self, refused: int) -> bool:
        """Note that the broker refused a version, and tell whether there is a newer one now."""
        self._login.refuse(refused)
        return self._login.version > refused or await self._login.refresh()

    def __repr__(self) -> str:
        return f"<Authorization version {self.version}>"
