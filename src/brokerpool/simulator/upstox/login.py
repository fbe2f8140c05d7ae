"""Upstox's login: the page on which a person logs in, the exchange of its code, and the logout.

What the broker does not document is assumed: a new session ends the one before it, and a code lives for five
minutes.
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Callable
from urllib.parse import urlencode

from aiohttp import web

from brokerpool.simulator.upstox.json_shapes import HOLDER, failure, success

DIALOG_PATH = "/v2/login/authorization/dialog"
#: How long what a login has given can be exchanged.
CODE_SECONDS = 300.0
#: Logins that wait for their exchange; of more the eldest are forgotten.
_MOST_LOGINS = 100

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<body style="font-family: sans-serif; max-width: 40em; margin: 3em auto; padding: 0 1em">
<h1>{title}</h1>{body}</body></html>"""


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
        self._clock = clock
        self._began = began
        self._ended = ended
        #: Code -> when it was given.
        self._given: dict[str, float] = {}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the endpoints that need no access token."""
        router.add_get(DIALOG_PATH, self._page)
        router.add_post(DIALOG_PATH, self._log_in)
        router.add_get("/login/finished", self._finished)
        router.add_post("/v2/login/authorization/token", self._exchange)

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session of the access token that the request carries."""
        self._ended()
        return success(True)

    async def _page(self, request: web.Request) -> web.Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        return _page(
            "Simulated Upstox",
            "<p>Upstox's own page asks for phone number, PIN and TOTP here. This one asks for nothing.</p>"
            '<form method="post"><button style="font-size: 1.2em; padding: .5em 2em">Log in</button></form>',
        )

    async def _log_in(self, request: web.Request) -> web.Response:
        wrong = self._wrong(request)
        if wrong is not None:
            return wrong
        code = secrets.token_urlsafe(6)
        self._given[code] = self._clock()
        while len(self._given) > _MOST_LOGINS:
            del self._given[next(iter(self._given))]
        state = request.query.get("state")
        query = urlencode({"code": code, **({"state": state} if state else {})})
        back = self._redirect_url()
        location = f"{back}{'&' if '?' in back else '?'}{query}"
        return web.Response(status=302, headers={"Location": location}, body=b"")

    async def _finished(self, request: web.Request) -> web.Response:
        """Stand for the app's redirect address, where none is registered."""
        return _page(
            "You are logged in",
            "<p>Copy the whole address of this page, and paste it where <code>brokerpool login</code> asks"
            f" for it:</p><p><code>{html.escape(str(request.url))}</code></p>",
        )

    async def _exchange(self, request: web.Request) -> web.Response:
        """Give an access token for a code, which is used with that whatever becomes of it."""
        form = await request.post()
        code, key, secret, address, grant = (
            str(form.get(name, ""))
            for name in ("code", "client_id", "client_secret", "redirect_uri", "grant_type")
        )
        given = self._given.pop(code, None)
        if grant != "authorization_code":
            return failure(400, "grant_type must be authorization_code.")
        if key != self._api_key or address != self._redirect_url():
            return failure(401, "Check your 'client_id' and 'redirect_uri'.", "UDAPI100068")
        if not secrets.compare_digest(secret.encode(), self._api_secret.encode()):
            return failure(401, "Check your 'client_secret'.", "UDAPI100069")
        if given is None or self._clock() - given > CODE_SECONDS:
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


def _page(title: str, body: str) -> web.Response:
    text = _PAGE.format(title=title, body=body)
    headers = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    return web.Response(text=text, content_type="text/html", headers=headers)
