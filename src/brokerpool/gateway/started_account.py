"""One account as the gateway starts: its login, tried, and its instrument list, or why it has none yet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from brokerpool.brokers import registry
from brokerpool.brokers.account import FullAccount
from brokerpool.brokers.login import Credentials
from brokerpool.errors import BrokerError, BrokerpoolError, ErrorCode, SettingsError, StoreError
from brokerpool.gateway.broker_login_trial import TRIAL_SECONDS, LoginTrial
from brokerpool.gateway.stored_login import LoginStore, StoredLogin
from brokerpool.settings import AccountSettings, Settings


@dataclass(slots=True)
class StartedAccount:
    """An account with what tries its logins; what it lacks at the start comes while the gateway runs."""

    settings: AccountSettings
    feed: FullAccount
    trial: LoginTrial
    stored: StoredLogin
    #: Why there is no login; None where there is one, good or not.
    no_login: StoreError | None = None
    #: Why there is no instrument list; None where there is one.
    unlisted: BrokerError | None = None

    @property
    def fault(self) -> BrokerpoolError | None:
        """What keeps the account from serving, and needs more than a login that the broker takes."""
        if self.no_login is not None:
            return self.no_login
        return None if self.waits else self.unlisted

    @property
    def waits(self) -> bool:
        """Whether its list is for those who are logged in, and the login is refused: the next brings both."""
        refused = ErrorCode.BROKER_REFUSED_CREDENTIALS
        return self.feed.login.refused and self.unlisted is not None and self.unlisted.code is refused


async def started(account: AccountSettings, settings: Settings, store: LoginStore) -> StartedAccount:
    """Return the account with its login and its list, both tried at the same time; nothing else is dialled.

    Raises SettingsError for a broker that does not load, or lacks what the settings say of it, and StoreError
    where the only account has no login.
    """
    broker, several = registry.broker(account.broker), len(settings.accounts()) > 1
    stored = StoredLogin(account, store, key_is_login=broker.key_is_login)
    credentials, no_login = Credentials(""), None
    try:
        credentials = await stored.first()
    except StoreError as error:
        if not several:
            raise
        no_login = error
    access = account.access(credentials, provider=stored.provider, egress=settings.egress)
    feed = broker.account(access)
    if account.deep_book and feed.deep_book is None:
        raise SettingsError(f"{account.setting('deep_book')}: {account.broker} has no deeper order book.")
    session = broker.session(access, timeout=TRIAL_SECONDS)
    trial = LoginTrial(session, feed.login, account, several=several)
    begun = StartedAccount(account, feed, trial, stored, no_login)
    if no_login is not None:
        feed.login.refuse(feed.login.version)  # nobody is dialled without one
        await _list(begun)
    else:
        await asyncio.gather(_list(begun), trial.run())
    return begun


async def _list(account: StartedAccount) -> None:
    try:
        account.feed.relist(await account.feed.instruments())
    except BrokerError as error:
        account.unlisted = error
