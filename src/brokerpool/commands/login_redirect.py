"""Catches the address to which a login at the broker leads: a listener on this machine, for one request."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from aiohttp import web

#: How long a person may take to log in.
PATIENCE_SECONDS = 300.0
#: How long the page that says "logged in" may take to leave.
_GOODBYE_SECONDS = 2.0

_HOST = "127.0.0.1"
_DONE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>brokerpool</title>
<body style="font-family: sans-serif; max-width: 40em; margin: 3em auto; padding: 0 1em">
<h1>The login has arrived</h1><p>You may close this page. The terminal in which <code>brokerpool login</code>
runs says whether the broker accepts it.</p></body></html>"""


class Redirect:
    """Listens on 127.0.0.1 from `open` to `close`, and takes the request token of the login with its `state`.

    All other requests are refused: a page that somebody looks at could send its own account's token here. So
    are those that were meant for another host. What is read of a request is bounded by the HTTP server: 8 KiB
    a line, no body.
    """

    def __init__(self, port: int, state: str, redirected: Callable[[str], str | None]) -> None:
        """`redirected` reads the request token from an address; see `LoginSession.redirected`."""
        self._redirected = redirected
        self._port = port
        self._state = state.encode()
        self._token: asyncio.Future[str] | None = None
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Begin to listen. Raises OSError when the port is taken."""
        self._token = asyncio.get_running_loop().create_future()
        app = web.Application(client_max_size=1)
        app.router.add_get("/{path:.*}", self._arrived, allow_head=False)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GOODBYE_SECONDS)
        await self._runner.setup()
        await web.TCPSite(self._runner, _HOST, self._port, backlog=16).start()

    async def token(self, patience: float = PATIENCE_SECONDS) -> str:
        """Return the request token that the browser brings. Raises TimeoutError after so many seconds."""
        assert self._token is not None  # made by `open`
        async with asyncio.timeout(patience):
            return await self._token

    async def close(self) -> None:
        """Listen no more; the page that is on its way gets two seconds."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _arrived(self, request: web.Request) -> web.Response:
        assert self._token is not None
        # A page of another site must not bring its own login here under a name that leads to this machine.
        if urlsplit(f"//{request.host}").hostname not in (_HOST, "localhost"):
            return web.Response(status=403, text="This is not meant for here.\n")
        try:
            token = self._redirected(request.path_qs) if request.query_string else None
        except ValueError:
            token = None
        state = request.query.get("state", "").encode("utf-8", "surrogatepass")
        if token is None or not secrets.compare_digest(state, self._state) or self._token.done():
            return web.Response(status=404, text="There is nothing here but the end of one login.\n")
        self._token.set_result(token)
        # The address holds the token: no other page is to hear of it.
        headers = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Connection": "close"}
        return web.Response(body=_DONE, content_type="text/html", headers=headers)
