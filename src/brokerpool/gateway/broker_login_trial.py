"""Asks the broker whose the login in use is, so that the log says so, or says what is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from brokerpool.brokers.login import Credentials, Login
from brokerpool.brokers.registry import LoginSession
from brokerpool.errors import BrokerpoolError, ErrorCode

logger = logging.getLogger("brokerpool.gateway")

#: A broker that does not answer sooner holds up no start.
TRIAL_SECONDS = 5.0


class LoginTrial:
    """Takes new logins over, with one call for the profile each; it learns whose one is, or refuses it."""

    def __init__(self, session: LoginSession, login: Login, of_settings: str) -> None:
        """`of_settings` is the access token in the settings, empty where there is none."""
        self._login = login
        self._session = session
        self._tried = 0  # the login's version that was tried last
        self._of_settings = of_settings

    async def follow(self, logins: AsyncIterator[Credentials]) -> None:
        """Use each of these from its coming on, and try it, though the pool may have found it before."""
        async for credentials in logins:
            self._login.renew(credentials)
            if self._login.version != self._tried:
                logger.info("a new access token of the broker is in use")
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
                logger.error(
                    "the broker refuses %s: run `brokerpool login`; the gateway waits for a new login and"
                    " takes it over without a restart",
                    "the access token in BROKERPOOL_BROKER_ACCESS_TOKEN"
                    if token == self._of_settings
                    else "the login in use",
                )
                login.refuse(version)
            else:
                logger.warning("the login could not be tried, and is used as it is: %s", error)
            return
        if login.version == version:
            login.renew(known)
        end = "" if known.expires_at is None else f", until {self._session.until(known.expires_at)}"
        logger.info("logged in as %s%s", holder, end)
