"""Zerodha as the settings name it: an account and a login session of what a person gives."""

from __future__ import annotations

from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.registry import Access, Broker
from brokerpool.brokers.zerodha.account import HTTP_URL, WS_URL, ZerodhaFeed
from brokerpool.brokers.zerodha.login_session import LOGIN_URL, KiteSession


class Zerodha(Broker):
    """One app of Kite Connect for each account."""

    name = "zerodha"
    limits = FeedLimits.load(__package__)

    def account(self, access: Access) -> ZerodhaFeed:
        """Return the account of the app and the login."""
        account = ZerodhaFeed(
            access.api_key,
            access.credentials.access_token,
            ws_url=access.ws_url or WS_URL,
            http_url=access.http_url or HTTP_URL,
            provider=access.provider,
            egress=access.egress,
        )
        account.login.renew(access.credentials)  # for the time at which the token dies
        return account

    def session(self, access: Access, *, timeout: float = 10.0) -> KiteSession:
        """Return what logs in with the app."""
        return KiteSession(
            access.api_key,
            http_url=access.http_url or HTTP_URL,
            login_url=access.login_url or LOGIN_URL,
            egress=access.egress,
            timeout=timeout,
        )


BROKER = Zerodha()
