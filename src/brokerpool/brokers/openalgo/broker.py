"""OpenAlgo as the settings name it: an account of an address and a key."""

from __future__ import annotations

from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.openalgo.account import HTTP_URL, WS_URL, OpenAlgoFeed
from brokerpool.brokers.openalgo.login_session import OpenAlgoSession
from brokerpool.brokers.registry import Access, Broker

_YES = ("1", "true", "yes", "on")


class OpenAlgo(Broker):
    """One user of one OpenAlgo, or of one brokerpool, for each account."""

    name = "openalgo"
    limits = FeedLimits.load(__package__)
    key_is_login = True

    def account(self, access: Access) -> OpenAlgoFeed:
        """Return the account of the key; one that was stored by `brokerpool login` goes before the app's.

        The login field `one_symbol_a_frame` is for servers that do not take lists of symbols.
        """
        return OpenAlgoFeed(
            access.credentials.access_token or access.api_key,
            ws_url=access.ws_url or WS_URL,
            http_url=access.http_url or HTTP_URL,
            orders=access.orders,
            one_symbol_a_frame=access.fields.get("one_symbol_a_frame", "").lower() in _YES,
            provider=access.provider,
            egress=access.egress,
        )

    def session(self, access: Access, *, timeout: float = 10.0) -> OpenAlgoSession:
        """Return what tries a key."""
        return OpenAlgoSession(
            access.api_key,
            http_url=access.http_url or HTTP_URL,
            login_url=access.login_url,
            egress=access.egress,
            timeout=timeout,
        )


BROKER = OpenAlgo()
