"""Asks the broker whose the login in use is, so that the log says so, or says what is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

from brokerpool.brokers.login import Credentials, Login
from brokerpool.brokers.registry import LoginSession
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.settings import AccountSettings

logger = logging.getLogger("brokerpool.gateway")

#: A broker that does not answer sooner holds up no start.
TRIAL_SECONDS = 5.0


class LoginTrial:
    """Takes new logins over, with one call for the profile each; it learns whose one is, or refuses it."""

    def __init__(
        self, session: LoginSession, login: Login, account: AccountSettings, *, several: bool = False
    ) -> None:
        """The log names the account where there are `several`."""
        self._login = login
        self._session = session
        self._account = account
        self._tried = 0  # the login's version that was tried last
        self._who = f"account {account.name}: " if several else ""
        self._command = f"brokerpool login {account.name}" if several else "brokerpool login"

    async def follow(self, logins: AsyncIterator[Credentials]) -> None:
        """Use each of these from its coming on, and try it, though the pool may have found it before."""
        async for credentials in logins:
            await self.use(credentials)

    async def use(self, credentials: Credentials) -> None:
        """Use these from now on, and try them unless they have been tried."""
        self._login.renew(credentials)
        if self._login.version != self._tried:
            self._tell(logging.INFO, "a new access token of the broker is in use")
            await self.run()

    async def run(self) -> None:
        """Try the present version; raises nothing, and takes at most 5 seconds.

        A login that the broker refuses is not dialled with. What is no answer changes nothing.
        """
        login, version = self._login, self._login.version
        self._tried = version
        token = login.credentials.access_token
        try:
            holder, known = await self._session.tried(token)
        except BrokerpoolError as error:
            if error.code is ErrorCode.BROKER_REFUSED_CREDENTIALS:
                self._tell(
                    logging.ERROR,
                    "the broker refuses %s: run `%s`; the gateway waits for a new login and takes it over"
                    " without a restart",
                    self._source(token),
                    self._command,
                )
                login.refuse(version)
            else:
                self._tell(logging.WARNING, "the login could not be tried, and is used as it is: %s", error)
            return
        if login.version == version:
            login.renew(known)
        end = "" if known.expires_at is None else f", until {self._session.until(known.expires_at)}"
        self._tell(logging.INFO, "logged in as %s%s", holder, end)

    def _source(self, token: str) -> str:
        account = self._account
        if token == account.broker_access_token.get_secret_value():
            return f"the access token in {account.setting('access_token')}"
        if token == account.broker_api_key.get_secret_value():
            return f"the key in {account.setting('api_key')}"
        return "the login in use"

    def _tell(self, level: int, text: str, *values: Any) -> None:  # noqa: ANN401  (as a logger takes them)
        logger.log(level, f"%s{text}", self._who, *values)  # noqa: G004  (the texts are ours)
