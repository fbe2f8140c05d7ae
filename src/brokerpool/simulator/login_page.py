"""What brokers' login pages have alike: how they look, where they lead, and the codes that they give."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

from aiohttp import web

#: How long what a login has given can be exchanged.
CODE_SECONDS = 300.0
#: Logins that wait for their exchange; of more the eldest are forgotten.
_MOST_LOGINS = 100

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<body style="font-family: sans-serif; max-width: 40em; margin: 3em auto; padding: 0 1em">
<h1>{title}</h1>{body}</body></html>"""
_BUTTON = '<form method="post"><button style="font-size: 1.2em; padding: .5em 2em">Log in</button></form>'


class LoginCodes:
    """Codes that each stand for a login, once and for five minutes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        #: Code -> when it was given.
        self._given: dict[str, float] = {}

    def give(self, code: str) -> str:
        """Return the code, which can be taken from now on."""
        self._given[code] = self._clock()
        while len(self._given) > _MOST_LOGINS:
            del self._given[next(iter(self._given))]
        return code

    def take(self, code: str) -> bool:
        """Use a code up, and tell whether it was good."""
        given = self._given.pop(code, None)
        return given is not None and self._clock() - given <= CODE_SECONDS


def login_page(simulated: str, broker: str, asks: str) -> web.Response:
    """Return the page with the button that logs in; `asks` is what the broker's own one wants to know."""
    text = f"<p>{broker}'s own page asks for {asks} here. This one asks for nothing.</p>"
    return _page(f"Simulated {simulated}", f"{text}{_BUTTON}")


async def finished(request: web.Request) -> web.Response:
    """Stand for the app's redirect address, where none is registered."""
    return _page(
        "You are logged in",
        "<p>Copy the whole address of this page, and paste it where <code>brokerpool login</code> asks"
        f" for it:</p><p><code>{html.escape(str(request.url))}</code></p>",
    )


def led_back(address: str, told: Mapping[str, str] | Sequence[tuple[str, str]]) -> web.Response:
    """Return the redirect to an app's address, with what it is told in the query."""
    location = f"{address}{'&' if '?' in address else '?'}{urlencode(told)}"
    return web.Response(status=302, headers={"Location": location}, body=b"")


def _page(title: str, body: str) -> web.Response:
    text = _PAGE.format(title=title, body=body)
    headers = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    return web.Response(text=text, content_type="text/html", headers=headers)
