"""A login at Upstox: the page, the exchange of its code for an access token, and whose a token is."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlencode

from brokerpool.brokers.base_login_session import BaseSession, User, in_address, not_in_address
from brokerpool.brokers.base_rest import decoded
from brokerpool.brokers.http_call import Answer
from brokerpool.brokers.india_time import as_read, next_time
from brokerpool.brokers.login import Credentials
from brokerpool.brokers.registry import Holder
from brokerpool.brokers.upstox.rest import HEADERS, fault, proof, read_data
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode

#: Where the page is, and where a code becomes a token (Upstox documentation, login; looked up 2026-11-29).
LOGIN_PATH = "/v2/login/authorization/dialog"
TOKEN_PATH = "/v2/login/authorization/token"
#: The address that the app is registered with, where none is given.
REDIRECT_URI = "http://127.0.0.1:8123/"


class _Session(User):
    access_token: str = ""


def token_end(now: float) -> float:
    """Return the next 03:30 in India in epoch seconds, at which a token that lives `now` is dead.

    It is so whenever the token was made (Upstox documentation, get token; looked up 2026-11-29).
    """
    return next_time(now, 3, 30)


def redirected_code(text: str) -> str | None:
    """Return the code of the address to which the login has led; None for what is no address.

    Raises ValueError, which quotes nothing, for an address without one.
    """
    found = in_address(text, "code")
    if found is None:
        return None
    if not found[0].isascii() or not found[0].replace("-", "").replace("_", "").isalnum():
        raise not_in_address("code")
    return found[0]


class UpstoxSession(BaseSession):
    """Makes access tokens of logins, and asks whose they are; `repr` and errors show no secret.

    A call takes `timeout` seconds at most, leaves as the `egress` says, and is made once: a code works once.
    Raises BrokerError: BROKER_REFUSED_CREDENTIALS for what Upstox does not accept, BROKER_UNREACHABLE and
    PROXY_REFUSED when there is no answer, others for other refusals.
    """

    def __init__(
        self,
        api_key: str,
        *,
        http_url: str,
        login_url: str = "",
        redirect_uri: str = "",
        egress: Egress | None = None,
        timeout: float = 10.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`redirect_uri` is the address that the app is registered with: Upstox wants it twice."""
        self._api_key = api_key
        super().__init__(
            http_url=http_url, login_url=login_url, egress=egress, timeout=timeout, wall_clock=wall_clock
        )
        self._login_url = login_url or f"{self._http_url}{LOGIN_PATH}"
        self._redirect_uri = redirect_uri or REDIRECT_URI

    def login_address(self, state: str = "") -> str:
        """Return the page on which the account's holder logs in; it hands the `state` on."""
        query = {"response_type": "code", "client_id": self._api_key, "redirect_uri": self._redirect_uri}
        if state:
            query["state"] = state
        return f"{self._login_url}?{urlencode(query)}"

    def redirected(self, text: str) -> str | None:
        """Return the code of the address to which the login led; see `redirected_code`."""
        return redirected_code(text)

    def until(self, expires_at: float) -> str:
        """Return a time as a trader in India reads it."""
        return as_read(expires_at)

    async def exchange(self, redirected: str, api_secret: str) -> Credentials:
        """Return the credentials for what a login has given, which works once."""
        form = {
            "code": redirected,
            "client_id": self._api_key,
            "client_secret": api_secret,
            "redirect_uri": self._redirect_uri,
            "grant_type": "authorization_code",
        }
        made = decoded("Upstox", (await self._asked("POST", TOKEN_PATH, HEADERS, form=form)).body, _Session)
        if not made.access_token:
            raise BrokerError("Upstox's session has no access token.", code=ErrorCode.BROKER_UNREACHABLE)
        return Credentials(made.access_token, token_end(self._wall_clock()), made.user_id)

    async def holder(self, access_token: str) -> Holder:
        """Return whose token it is, which proves that it is valid."""
        answer = await self._asked("GET", "/v2/user/profile", proof(Credentials(access_token)))
        told = read_data(answer, User)
        return told.holder

    async def tried(self, access_token: str) -> tuple[Holder, Credentials]:
        """Return whose token it is, and the credentials with that and with when they end."""
        holder = await self.holder(access_token)
        return holder, Credentials(access_token, token_end(self._wall_clock()), holder.user)

    def _fault(self, answer: Answer) -> BrokerError | None:
        return fault(answer)
