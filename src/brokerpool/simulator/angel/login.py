"""Angel's login: client code, PIN and one-time code for three tokens, and the page that leads back with them.

What the broker does not document is assumed: a new session ends the one before it, and the page asks for
nothing here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from aiohttp import web

from brokerpool.simulator.angel.json_shapes import complaint, success
from brokerpool.simulator.login_page import led_back

#: The secret of every simulated account's one-time codes.
TOTP_SECRET = "BROKERPOOLSIMULATEDTOTPSECRET234"

_PERIOD_SECONDS = 30
#: A code may be one period early or late.
_SLACK = (0, -1, 1)


class Tokens(NamedTuple):
    """What a login gives."""

    access_token: str
    refresh_token: str
    feed_token: str


class _Asked(msgspec.Struct):
    client_code: str = msgspec.field(name="clientcode")
    pin: str = msgspec.field(name="password")
    totp: str


class _Renewal(msgspec.Struct):
    refresh_token: str = msgspec.field(name="refreshToken")


class AngelLogin:
    """The calls that begin and end a session of one client, and the page of its app.

    `began` is told the tokens of each new session, `ended` that the present one is over. The page leads to
    `redirect_url`, the address that is registered with the app; without one it says the tokens' names only.
    """

    def __init__(
        self,
        api_key: str,
        client_code: str,
        pin: str,
        *,
        redirect_url: str | None,
        clock: Callable[[], float],
        began: Callable[[Tokens], None],
        ended: Callable[[], None],
    ) -> None:
        self._api_key = api_key
        self._client = (client_code, pin)
        self._redirect_url = redirect_url
        self._clock = clock
        self._began = began
        self._ended = ended
        self._refresh_token = ""

    async def page(self, request: web.Request) -> web.Response:
        """Lead the browser back to the app with the tokens, without asking anything."""
        if request.query.get("api_key") != self._api_key:
            return complaint("AG8004", "Invalid API Key")
        if self._redirect_url is None:
            return complaint("AB1004", "the app has no redirect address; start with --redirect-url")
        tokens = self._new()
        given = {
            "auth_token": tokens.access_token,
            "feed_token": tokens.feed_token,
            "refresh_token": tokens.refresh_token,
            **({"state": request.query["state"]} if "state" in request.query else {}),
        }
        return led_back(self._redirect_url, given)

    async def log_in(self, request: web.Request) -> web.Response:
        """Begin a session for client code, PIN and one-time code."""
        try:
            asked = msgspec.json.decode(await request.read(), type=_Asked)
        except (msgspec.MsgspecError, RecursionError):
            return complaint("AB1007", "Invalid email or password")
        if (asked.client_code, asked.pin) != self._client:
            return complaint("AB1007", "Invalid email or password")
        if asked.totp not in {totp(TOTP_SECRET, self._clock(), slack) for slack in _SLACK}:
            return complaint("AB1050", "Invalid totp")
        return success(_told(self._new()))

    async def renew(self, request: web.Request) -> web.Response:
        """Begin another session for the refresh token of this one."""
        try:
            asked = msgspec.json.decode(await request.read(), type=_Renewal)
        except (msgspec.MsgspecError, RecursionError):
            return complaint("AB8050", "Invalid Refresh Token")
        if not self._refresh_token or asked.refresh_token != self._refresh_token:
            return complaint("AB8050", "Invalid Refresh Token")
        return success(_told(self._new()))

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session."""
        self._refresh_token = ""
        self._ended()
        return success(None)

    def _new(self) -> Tokens:
        tokens = Tokens(*(secrets.token_hex(16) for _ in range(3)))
        self._refresh_token = tokens.refresh_token
        self._began(tokens)
        return tokens


def totp(secret: str, now: float, slack: int = 0) -> str:
    """Return the one-time code of a moment (RFC 6238), some periods of 30 s away."""
    counter = struct.pack(">Q", int(now) // _PERIOD_SECONDS + slack)
    digest = hmac.new(base64.b32decode(secret), counter, hashlib.sha1).digest()
    (number,) = struct.unpack_from(">I", digest, digest[-1] & 15)
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06d}"


def _told(tokens: Tokens) -> dict[str, str]:
    return {
        "jwtToken": tokens.access_token,
        "refreshToken": tokens.refresh_token,
        "feedToken": tokens.feed_token,
    }
