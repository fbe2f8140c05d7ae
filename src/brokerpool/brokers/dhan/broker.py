"""Dhan as the settings name it: an account and a login session of what a person gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from brokerpool.brokers.dhan.account import HTTP_URL, WS_URL, DhanFeed
from brokerpool.brokers.dhan.login_session import LOGIN_URL, DhanSession, credentials, renewal
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Credentials, Provider
from brokerpool.brokers.registry import Access, Broker

Present: TypeAlias = Callable[[], Credentials]

#: OpenAlgo writes the client id and an app's key in one setting, with this between them.
_BETWEEN = ":::"
_RENEW, _YES = "renew", "yes"


class Dhan(Broker):
    """One Dhan client for each account; the API key is the client id.

    Login field: `renew`, with which "yes" has the token renewed before it ends, in place of a login a day.
    """

    name = "dhan"
    limits = FeedLimits.load(__package__)

    def account(self, access: Access) -> DhanFeed:
        """Return the account of the client and the login."""

        def present() -> Credentials:
            return account.login.credentials

        account = DhanFeed(
            _client_id(access),
            access.credentials.access_token,
            ws_url=access.ws_url or WS_URL,
            http_url=access.http_url or HTTP_URL,
            provider=self._provider(access, present),
            egress=access.egress,
            deep_book=access.deep_book,
        )
        account.login.renew(credentials(access.credentials.access_token))  # for the time at which it dies
        account.login.renew(access.credentials)
        return account

    def session(self, access: Access, *, timeout: float = 10.0) -> DhanSession:
        """Return what asks whose a token is."""
        return DhanSession(
            _client_id(access),
            http_url=access.http_url or HTTP_URL,
            login_url=access.login_url or LOGIN_URL,
            egress=access.egress,
            timeout=timeout,
        )

    def _provider(self, access: Access, present: Present) -> Provider | None:
        if access.fields.get(_RENEW) != _YES:
            return access.provider
        return renewal(self.session(access), present, access.provider)


def _client_id(access: Access) -> str:
    return access.api_key.partition(_BETWEEN)[0]


BROKER = Dhan()
