"""Kite's login: the page on which a person logs in, the exchange of its request token, and the logout.

What the broker does not document is assumed: a new session ends the one before it, and a request token lives
for five minutes.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from aiohttp import web

from brokerpool.simulator.login_page import LoginCodes, led_back, login_page
from brokerpool.simulator.zerodha.json_shapes import failure, local, profile, success


class KiteLogin:
    """The pages and calls that begin and end a session of one app; nobody's password is asked.

    `began` is told the access token of each new session, `ended` that the present one is over. The page leads
    to `redirect_url`, the address that is registered with the app; without one to a page of its own.
    """

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        *,
        redirect_url: str | None,
        clock: Callable[[], float],
        accepts: Callable[[str, str], bool],
        began: Callable[[str], None],
        ended: Callable[[], None],
    ) -> None:
        self._api_key = api_key
        self._api_secret = api_secret
        self._redirect_url = redirect_url
        self._clock = clock
        self._accepts = accepts
        self._began = began
        self._ended = ended
        self._codes = LoginCodes(clock)

    async def page(self, request: web.Request) -> web.Response:
        """Show the button that logs in."""
        if request.query.get("api_key") != self._api_key or request.query.get("v") != "3":
            return failure(400, "Invalid `api_key`, or another version than v=3.")
        return login_page("Kite", "Zerodha", "user id, password and TOTP")

    async def log_in(self, request: web.Request) -> web.Response:
        """Lead the browser back to the app, with a request token."""
        if request.query.get("api_key") != self._api_key:
            return failure(400, "Invalid `api_key`.")
        token = self._codes.give(secrets.token_hex(16))
        own = {"action": "login", "type": "login", "status": "success", "request_token": token}
        asked = parse_qsl(request.query.get("redirect_params", ""))
        return led_back(self._redirect_url or "/connect/finished", [*asked, *own.items()])

    async def exchange(self, request: web.Request) -> web.Response:
        """Give an access token for a request token, once."""
        form = await request.post()
        api_key, token, proof = (str(form.get(n, "")) for n in ("api_key", "request_token", "checksum"))
        if not (api_key and token and proof):
            return failure(400, "Missing `api_key`, `request_token` or `checksum`.")
        right = hashlib.sha256(f"{self._api_key}{token}{self._api_secret}".encode()).hexdigest()
        if api_key != self._api_key or not secrets.compare_digest(proof.encode(), right.encode()):
            return failure(403, "Invalid `checksum`.")
        if not self._codes.take(token):
            return failure(403, "Token is invalid or has expired.")
        access_token = secrets.token_hex(16)
        self._began(access_token)
        return success(self._session(access_token))

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session of an access token."""
        if not self._accepts(request.query.get("api_key", ""), request.query.get("access_token", "")):
            return failure(403, "Incorrect `api_key` or `access_token`.")
        self._ended()
        return success(True)

    def _session(self, access_token: str) -> Mapping[str, object]:
        return {
            **profile(()),
            "api_key": self._api_key,
            "access_token": access_token,
            "public_token": secrets.token_hex(16),
            "refresh_token": "",
            "enctoken": "",
            "silo": "",
            "login_time": local(self._clock()),
        }
