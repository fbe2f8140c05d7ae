"""A login at Acme: its page, the exchange of the code that this gives, and whose a token is."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from brokerpool.brokers.login import Credentials
from brokerpool.brokers.registry import Access, Holder, LoginSession

from .account import HTTP_URL
from .calls import call, read

LOGIN_URL = "https://acme.example/login"


class _Made(msgspec.Struct):
    access_token: str
    feed_token: str


class _Told(msgspec.Struct):
    user: str
    name: str
    ends_at: float


class AcmeSession(LoginSession):
    """Logs in with one app."""

    def __init__(self, access: Access, timeout: float) -> None:
        self._app = access.api_key
        self._http_url = access.http_url or HTTP_URL
        self._login_url = access.login_url or LOGIN_URL
        self._timeout = timeout

    def login_address(self, state: str = "") -> str:
        return f"{self._login_url}?{urlencode({'app': self._app, 'state': state})}"

    def redirected(self, text: str) -> str | None:
        if "://" not in text and not text.startswith("/"):
            return None
        codes = parse_qs(urlsplit(text).query).get("code", [])
        if len(codes) != 1:
            raise ValueError("this address has no code: log in again")
        return codes[0]

    async def exchange(self, redirected: str, api_secret: str) -> Credentials:
        proof = hashlib.sha256(f"{self._app}/{redirected}/{api_secret}".encode()).hexdigest()
        asked = {"app": self._app, "code": redirected, "proof": proof}
        answer = await call("POST", f"{self._http_url}/session", json=asked, timeout=self._timeout)
        made = read(answer, _Made)
        return Credentials(made.access_token, more={"feed_token": made.feed_token})

    async def tried(self, access_token: str) -> tuple[Holder, Credentials]:
        answer = await call("GET", f"{self._http_url}/me", token=access_token, timeout=self._timeout)
        told = read(answer, _Told)
        return Holder(told.user, told.name), Credentials(access_token, told.ends_at, told.user)

    def until(self, expires_at: float) -> str:
        return f"second {expires_at:.0f} of Acme's calendar"
