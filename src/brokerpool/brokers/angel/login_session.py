"""A login at Angel: its page or a one-time code, the three tokens that this gives, and whose they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode

import msgspec

from brokerpool.brokers.angel.rest import HTTP_URL, headers
from brokerpool.brokers.angel.rest_errors import fault, read_data
from brokerpool.brokers.base_login_session import BaseSession, in_address
from brokerpool.brokers.india_time import as_read, next_time
from brokerpool.brokers.login import Credentials
from brokerpool.brokers.registry import Holder
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.untrusted_text import remembered

#: The page that leads back with the tokens (SmartAPI documentation, publisher login; looked up 2026-11-29).
LOGIN_URL = "https://smartapi.angelone.in/publisher-login"

#: Name of the further token that the feed wants, among what a login gives.
FEED_TOKEN = "feed_token"
_LOGIN = "/rest/auth/angelbroking/user/v1/loginByPassword"
_PROFILE = "/rest/secure/angelbroking/user/v1/getProfile"
_CODE_DIGITS = 6


class _Tokens(msgspec.Struct, rename="camel"):
    jwt_token: str
    feed_token: str


class _Profile(msgspec.Struct):
    clientcode: str
    name: str = ""


def token_end(now: float) -> float:
    """Return the next midnight in India in epoch seconds, at which a session of `now` ends.

    SmartAPI documentation, login: a session is valid until 12 at night; looked up 2026-11-29, not tried live.
    """
    return next_time(now, 0)


class AngelSession(BaseSession):
    """Makes credentials of logins, and asks whose they are; `repr` and errors show no secret.

    A call takes `timeout` seconds at most, leaves as the `egress` says, and is made once. Raises BrokerError:
    BROKER_REFUSED_CREDENTIALS for what Angel does not accept, BROKER_UNREACHABLE and PROXY_REFUSED when there
    is no answer, others for other refusals.
    """

    def __init__(
        self,
        api_key: str,
        *,
        client_code: str = "",
        http_url: str = HTTP_URL,
        login_url: str = LOGIN_URL,
        egress: Egress | None = None,
        timeout: float = 10.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """The `client_code`, by which Angel knows its customer, is needed for a login with PIN and code."""
        self._api_key = api_key
        self._client_code = client_code
        super().__init__(
            http_url=http_url, login_url=login_url, egress=egress, timeout=timeout, wall_clock=wall_clock
        )

    def login_address(self, state: str = "") -> str:
        """Return the page on which the account's holder logs in; it hands the `state` on."""
        query = {"api_key": self._api_key, **({"state": state} if state else {})}
        return f"{self._login_url}?{urlencode(query)}"

    def redirected(self, text: str) -> str | None:
        """Return the tokens of the address to which the login led, or a one-time code of six digits.

        None for any other word. Raises ValueError, which quotes nothing, for an address without the tokens.
        """
        if len(text) == _CODE_DIGITS and text.isascii() and text.isdigit():
            return text
        found = in_address(text, "auth_token", FEED_TOKEN)
        return None if found is None else urlencode(dict(zip(("auth_token", FEED_TOKEN), found, strict=True)))

    def secret(self, redirected: str) -> str:
        """Return that a one-time code needs the PIN; the tokens of an address need nothing."""
        return "PIN of the account" if len(redirected) == _CODE_DIGITS else ""

    def until(self, expires_at: float) -> str:
        """Return a time as a trader in India reads it."""
        return as_read(expires_at)

    async def exchange(self, redirected: str, api_secret: str) -> Credentials:
        """Return the credentials for what `redirected` has given.

        The tokens of an address are there already; for a one-time code the `api_secret` is the account's PIN.
        """
        if len(redirected) == _CODE_DIGITS:
            return await self.log_in(api_secret, redirected)
        tokens = parse_qs(redirected)
        return self._made(tokens["auth_token"][0], tokens[FEED_TOKEN][0])

    async def log_in(self, pin: str, code: str) -> Credentials:
        """Return the credentials for PIN and one-time code of the client; wrong ones may lock it out."""
        if not self._client_code:
            text = "A login with PIN and code needs the login field client_code; nothing was sent."
            raise BrokerError(text, code=ErrorCode.NO_CREDENTIALS)
        form = {"clientcode": self._client_code, "password": pin, "totp": code}
        answer = await self._call("POST", _LOGIN, headers(self._api_key), json=form)
        complaint = fault(answer)
        if complaint is not None:
            if complaint.code is ErrorCode.BROKER_REFUSED_CALL:  # of wrong credentials there are many codes
                raise BrokerError(str(complaint), code=ErrorCode.BROKER_REFUSED_CREDENTIALS)
            raise complaint
        made = read_data(answer, _Tokens)
        if not made.jwt_token or not made.feed_token:
            raise BrokerError("Angel's session lacks a token.", code=ErrorCode.BROKER_UNREACHABLE)
        return self._made(made.jwt_token, made.feed_token, self._client_code)

    async def tried(self, access_token: str) -> tuple[Holder, Credentials]:
        """Return whose token it is, and the credentials with that and with when they end."""
        answer = await self._call("GET", _PROFILE, headers(self._api_key, access_token))
        complaint = fault(answer)
        if complaint is not None:
            raise complaint
        told = read_data(answer, _Profile)
        holder = Holder(remembered(told.clientcode, 64), remembered(told.name, 100))
        return holder, Credentials(access_token, token_end(self._wall_clock()), holder.user)

    def _made(self, access_token: str, feed_token: str, user: str = "") -> Credentials:
        return Credentials(access_token, token_end(self._wall_clock()), user, more={FEED_TOKEN: feed_token})
