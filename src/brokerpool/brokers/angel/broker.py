"""Angel One as the settings name it: an account and a login session of what a person gives."""

from __future__ import annotations

from collections.abc import Callable

from brokerpool.brokers.angel.account import WS_URL, AngelFeed
from brokerpool.brokers.angel.login_session import FEED_TOKEN, LOGIN_URL, AngelSession
from brokerpool.brokers.angel.rest import HTTP_URL
from brokerpool.brokers.angel.totp import PIN, TOTP_SECRET, totp_provider
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Credentials, Provider
from brokerpool.brokers.registry import Access, Broker

_CLIENT_CODE = "client_code"


class Angel(Broker):
    """One SmartAPI app for each account.

    Login fields: `client_code`; `feed_token`, for an access token that was made elsewhere; and `pin` with
    `totp_secret`, with which each day's login is made without a person.
    """

    name = "angel"
    limits = FeedLimits.load(__package__)

    def account(self, access: Access) -> AngelFeed:
        """Return the account of the app and the login. Raises SettingsError for a TOTP secret that is none.

        Nothing is dialled, and nobody is logged in here.
        """
        account = AngelFeed(
            access.api_key,
            access.credentials,
            client_code=access.fields.get(_CLIENT_CODE, ""),
            feed_token=access.fields.get(FEED_TOKEN, ""),
            ws_url=access.ws_url or WS_URL,
            http_url=access.http_url,
            provider=self._provider(access, lambda: account.login.credentials),
            egress=access.egress,
        )
        return account

    def session(self, access: Access, *, timeout: float = 10.0) -> AngelSession:
        """Return what logs in with the app."""
        return AngelSession(
            access.api_key,
            client_code=access.fields.get(_CLIENT_CODE, ""),
            http_url=access.http_url or HTTP_URL,
            login_url=access.login_url or LOGIN_URL,
            egress=access.egress,
            timeout=timeout,
        )

    def _provider(self, access: Access, present: Callable[[], Credentials]) -> Provider | None:
        pin, secret = access.fields.get(PIN, access.api_secret), access.fields.get(TOTP_SECRET, "")
        if not pin or not secret:
            return access.provider
        return totp_provider(self.session(access), pin, secret, present=present, before=access.provider)


BROKER = Angel()
