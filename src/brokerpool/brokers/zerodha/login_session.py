"""A login at Kite: the page, the exchange of what it gives for an access token, and whose a token is."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from urllib.parse import urlencode

from brokerpool.brokers.base_login_session import BaseSession, User, in_address, not_in_address
from brokerpool.brokers.http_call import Answer
from brokerpool.brokers.india_time import as_read, next_time
from brokerpool.brokers.login import Credentials
from brokerpool.brokers.registry import Holder
from brokerpool.brokers.zerodha.rest import HEADERS, fault, read_data
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode

LOGIN_URL = "https://kite.zerodha.com/connect/login"


class _Session(User):
    access_token: str = ""


def token_end(now: float) -> float:
    """Return the next 07:30 in India in epoch seconds, at which a token that lives `now` is dead.

    Kite ends all access tokens early each morning, at no fixed minute; about 07:30 is the latest that users
    and staff tell (Kite Connect forum; looked up 2026-11-28, not tried live).
    """
    return next_time(now, 7, 30)


def redirected_token(text: str) -> str | None:
    """Return the request token of the address to which the login has led; None for what is no address.

    Raises ValueError, which quotes nothing, for an address without one.
    """
    found = in_address(text, "request_token")
    if found is None:
        return None
    if not found[0].isascii() or not found[0].isalnum():
        raise not_in_address("request_token")
    return found[0]


def checksum(api_key: str, request_token: str, api_secret: str) -> str:
    """Return what proves the secret without sending it (Kite Connect documentation, login flow)."""
    return hashlib.sha256(f"{api_key}{request_token}{api_secret}".encode()).hexdigest()


class KiteSession(BaseSession):
    """Makes access tokens of logins, and asks whose they are; `repr` and errors show no secret.

    A call takes `timeout` seconds at most, leaves as the `egress` says, and is made once: a request token
    works once. Raises BrokerError: BROKER_REFUSED_CREDENTIALS for what Kite does not accept,
    BROKER_UNREACHABLE and PROXY_REFUSED when there is no answer, others for other refusals.
    """

    def __init__(
        self,
        api_key: str,
        *,
        http_url: str = "https://api.kite.trade",
        login_url: str = LOGIN_URL,
        egress: Egress | None = None,
        timeout: float = 10.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._api_key = api_key
        super().__init__(
            http_url=http_url, login_url=login_url, egress=egress, timeout=timeout, wall_clock=wall_clock
        )

    def login_address(self, state: str = "") -> str:
        """Return the page on which the account's holder logs in; there is no other way to begin.

        Kite hands the `state` on to the redirect address, where whoever waits knows its own login by it
        (`redirect_params`; Kite Connect documentation, login flow).
        """
        query = {"v": "3", "api_key": self._api_key}
        if state:
            query["redirect_params"] = urlencode({"state": state})
        return f"{self._login_url}?{urlencode(query)}"

    def redirected(self, text: str) -> str | None:
        """Return the request token of the address to which the login led; see `redirected_token`."""
        return redirected_token(text)

    def until(self, expires_at: float) -> str:
        """Return a time as a trader in India reads it."""
        return as_read(expires_at, "about ")

    async def exchange(self, redirected: str, api_secret: str) -> Credentials:
        """Return the credentials for what a login has given, which works once and for minutes."""
        form = {
            "api_key": self._api_key,
            "request_token": redirected,
            "checksum": checksum(self._api_key, redirected, api_secret),
        }
        made = read_data(await self._asked("POST", "/session/token", HEADERS, form=form), _Session)
        if not made.access_token:
            raise BrokerError("Kite's session has no access token.", code=ErrorCode.BROKER_UNREACHABLE)
        return Credentials(made.access_token, token_end(self._wall_clock()), made.user_id)

    async def holder(self, access_token: str) -> Holder:
        """Return whose token it is, which proves that it is valid."""
        headers = {**HEADERS, "Authorization": f"token {self._api_key}:{access_token}"}
        told = read_data(await self._asked("GET", "/user/profile", headers), User)
        return told.holder

    async def tried(self, access_token: str) -> tuple[Holder, Credentials]:
        """Return whose token it is, and the credentials with that and with when they end."""
        holder = await self.holder(access_token)
        return holder, Credentials(access_token, token_end(self._wall_clock()), holder.user)

    def _fault(self, answer: Answer) -> BrokerError | None:
        return fault(answer)
