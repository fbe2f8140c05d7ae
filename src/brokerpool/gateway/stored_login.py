"""The logins of one account that the database keeps: the one at the start, and newer ones as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from brokerpool.brokers.login import Credentials, Provider
from brokerpool.errors import ErrorCode, StoreError
from brokerpool.settings import AccountSettings


class LoginStore(Protocol):
    """Where logins are kept; it may not be open yet."""

    @property
    def keeps_logins(self) -> bool:
        """Whether there is a key with which they can be read."""
        ...

    @property
    def opened(self) -> bool:
        """Whether the database has been open since the start."""
        ...

    @property
    def fault(self) -> str:
        """The error code for which it is not open or not read; empty while it is."""
        ...

    async def login(self, account: str) -> Credentials:
        """Return the newest login of an account. Raises StoreError."""
        ...

    def newer_logins(self, account: str) -> AsyncGenerator[Credentials, None]:
        """Yield the newest login and each newer one, from when the database is open, without an end."""
        ...


class StoredLogin:
    """What the database and the settings together say of one account's login."""

    def __init__(self, account: AccountSettings, store: LoginStore, *, key_is_login: bool = False) -> None:
        """Where the `key_is_login`, the account needs no token."""
        self._account = account
        self._key_is_login = key_is_login
        self._store = store
        #: The login that was stored when the gateway started; `_known` says whether that was asked.
        self._at_start: Credentials | None = None
        self._known = False

    @property
    def provider(self) -> Provider | None:
        """What to ask for newer credentials; None where no login can be stored."""
        return self._newest if self._store.keeps_logins else None

    async def first(self) -> Credentials:
        """Return those of the settings, else those of the stored login.

        With neither, they are empty where the account's key is the login. Raises StoreError: NO_CREDENTIALS
        where there are neither, and others where a stored login cannot be read.
        """
        token = self._account.broker_access_token.get_secret_value()
        if self._store.opened and self._store.keeps_logins:
            try:
                self._at_start = await self._store.login(self._account.name)
                self._known = True
            except StoreError as error:
                self._known = error.code is ErrorCode.NO_CREDENTIALS
                if not token and not (self._key_is_login and self._known):
                    raise
        if token:
            return Credentials(token)
        if self._at_start is None:
            if self._key_is_login:
                return Credentials("")
            text = f"Neither {self._account.setting('access_token')} nor BROKERPOOL_SECRET_KEY is set."
            if self._store.keeps_logins:
                text = f"{self._account.setting('access_token')} is not set, and the database is not open."
            raise StoreError(text, code=ErrorCode.NO_CREDENTIALS)
        return self._at_start

    async def newer(self) -> AsyncGenerator[Credentials, None]:
        """Yield each login that is stored after the start, within about a second, without an end."""
        if not self._store.keeps_logins:
            return
        async for credentials in self._store.newer_logins(self._account.name):
            # What was stored at the start was used then, or the setting's was preferred: an old login must
            # not take the place of a good token. The provider has it when that token is refused.
            old = credentials == self._at_start
            if not self._known:
                self._at_start, self._known = credentials, True
                old = bool(self._account.broker_access_token.get_secret_value())
            if not old:
                yield credentials

    async def _newest(self) -> Credentials | None:
        """Return the stored login; None where there is none, or the database is away, which is told."""
        try:
            return await self._store.login(self._account.name)
        except StoreError as error:
            if error.code is ErrorCode.NO_CREDENTIALS or self._store.fault:
                return None
            raise
