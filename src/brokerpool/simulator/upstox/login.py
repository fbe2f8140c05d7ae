"""Upstox's login: the page on which a person logs in, the exchange of its code, and the logout.

What the broker does not document is assumed: a new session ends the one before it, and a code lives for five
minutes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from aiohttp import web

from brokerpool.simulator.login_page import LoginCodes, finished, led_back, login_page
from brokerpool.simulator.upstox.json_shapes import HOLDER, failure, success

DIALOG_PATH = "/v2/login/authorization/dialog"


class UpstoxLogin:
    """The pages and calls that begin and end a session of one app; nobody's password is asked.

    `began` is told the access token of each new session, `ended` that the present one is over. The app is
    registered with the address that `redirect_url` tells: every call of a login must name it.
    """

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        *,
        redirect_url: Callable[[], str],
        clock: Callable[[], float],
        began: Callable[[str], None],
        ended: Callable[[], None],
    ) -> None:
        self._api_key = api_key
        self._api_secret = api_secret
        self._redirect_url = redirect_url
        self._began = began
        self._ended = ended
        self._codes = LoginCodes(clock)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the endpoints that need no access token."""
        router.add_get(DIALOG_PATH, self._page)
        router.add_post(DIALOG_PATH, self._log_in)
        router.add_get("/login/finished", finished)
        router.add_post("/v2/login/authorization/token", self._exchange)

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session of the access token that the request carries."""
        self._ended()
        return success(True)

    async def _page(self, request: web.Request) -> web.Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        return login_page("Upstox", "Upstox", "phone number, PIN and TOTP")

    async def _log_in(self, request: web.Request) -> web.Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        state = request.query.get("state")
        told = {"code": self._codes.give(secrets.token_urlsafe(6)), **({"state": state} if state else {})}
        return led_back(self._redirect_url(), told)

    async def _exchange(self, request: web.Request) -> web.Response:
        """Give an access token for a code, which is used with that whatever becomes of it."""
        form = await request.post()
        code, key, secret, address, grant = (
            str(form.get(name, ""))
            for name in ("code", "client_id", "client_secret", "redirect_uri", "grant_type")
        )
        good = self._codes.take(code)
        if grant != "authorization_code":
            return failure(400, "grant_type must be authorization_code.")
        if key != self._api_key or address != self._redirect_url():
            return failure(401, "Check your 'client_id' and 'redirect_uri'.", "UDAPI100068")
        if not secrets.compare_digest(secret.encode(), self._api_secret.encode()):
            return failure(401, "Check your 'client_secret'.", "UDAPI100069")
        if not good:
            return failure(401, "Invalid Auth code.", "UDAPI100057")
        access_token = secrets.token_hex(16)
        self._began(access_token)
        # The one answer without an envelope.
        return web.json_response({**HOLDER, "access_token": access_token})

    def _wrong(self, request: web.Request) -> web.Response | None:
        query = request.query
        right = query.get("client_id"), query.get("redirect_uri"), query.get("response_type")
        if right == (self._api_key, self._redirect_url(), "code"):
            return None
        return failure(401, "Check your 'client_id' and 'redirect_uri'.", "UDAPI100068")
