"""Upstox as the settings name it: an account and a login session of what a person gives."""

from __future__ import annotations

from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.registry import Access, Broker
from brokerpool.brokers.upstox.account import HTTP_URL, UpstoxFeed
from brokerpool.brokers.upstox.login_session import UpstoxSession


class Upstox(Broker):
    """One app of Upstox's for each account."""

    name = "upstox"
    limits = FeedLimits.load(__package__)

    def account(self, access: Access) -> UpstoxFeed:
        """Return the account of the login."""
        account = UpstoxFeed(
            access.credentials.access_token,
            ws_url=access.ws_url,
            http_url=access.http_url or HTTP_URL,
            provider=access.provider,
            egress=access.egress,
        )
        account.login.renew(access.credentials)  # for the time at which the token dies
        return account

    def session(self, access: Access, *, timeout: float = 10.0) -> UpstoxSession:
        """Return what logs in with the app, whose registered address is the login field `redirect_uri`."""
        return UpstoxSession(
            access.api_key,
            http_url=access.http_url or HTTP_URL,
            login_url=access.login_url,
            redirect_uri=access.fields.get("redirect_uri", ""),
            egress=access.egress,
            timeout=timeout,
        )


BROKER = Upstox()
