"""A login at Dhan: a token that a person copies from its page, whose it is, and how a live one is renewed."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import datetime

import msgspec

from brokerpool.brokers.base_login_session import BaseSession
from brokerpool.brokers.base_rest import decoded
from brokerpool.brokers.dhan.rest import fault
from brokerpool.brokers.http_call import Answer
from brokerpool.brokers.india_time import INDIA, as_read
from brokerpool.brokers.login import Credentials, Provider
from brokerpool.brokers.registry import Holder
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.untrusted_text import remembered

#: DhanHQ v2 documentation, authentication (looked up 2026-11-29): where a person makes a token, under "Access
#: DhanHQ APIs" of the profile.
LOGIN_URL = "https://web.dhan.co"

#: No token of Dhan's is longer; what is longer is not looked into.
_LONGEST_TOKEN = 4096


class _Claims(msgspec.Struct, rename="camel"):
    """What a token says of itself; not verified, for it is only to know when to ask for the next one."""

    exp: float | None = None
    dhan_client_id: str = ""


class _Profile(msgspec.Struct, rename="camel"):
    dhan_client_id: str = ""
    #: As in 30/03/2026 15:37, in India.
    token_validity: str = ""


class _Renewed(msgspec.Struct, rename="camel"):
    access_token: str = ""
    token: str = ""


def credentials(access_token: str) -> Credentials:
    """Return a token with what it says of itself: when it ends, and whose it is. No JWT says nothing."""
    claims = _Claims()
    _, _, rest = access_token[:_LONGEST_TOKEN].partition(".")
    payload, dot, _ = rest.partition(".")
    if dot:
        try:
            claims = msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims)
        except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
            claims = _Claims()
    return Credentials(access_token, claims.exp, remembered(claims.dhan_client_id, 64))


class DhanSession(BaseSession):
    """Asks whose a token is, and renews one that lives; `repr` and errors show no secret.

    A call takes `timeout` seconds at most, leaves as the `egress` says, and is made once.
    """

    def __init__(
        self,
        client_id: str,
        *,
        http_url: str,
        login_url: str = LOGIN_URL,
        egress: Egress | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._client_id = client_id
        super().__init__(http_url=http_url, login_url=login_url, egress=egress, timeout=timeout)

    def login_address(self, state: str = "") -> str:
        """Return the page on which Dhan makes a token; it leads nowhere else."""
        return self._login_url

    def redirected(self, text: str) -> str | None:
        """Return None for a token. Raises ValueError for an address, which holds none."""
        if "://" in text:
            raise ValueError("Dhan's page leads to no address: copy the access token that it shows")
        return None

    async def exchange(self, redirected: str, api_secret: str) -> Credentials:
        """Raise BrokerError (BROKER_REFUSED_CREDENTIALS): there is nothing to exchange, the token is all."""
        raise BrokerError(
            "Dhan takes this as no access token: make one on its page, under Access DhanHQ APIs.",
            code=ErrorCode.BROKER_REFUSED_CREDENTIALS,
        )

    async def tried(self, access_token: str) -> tuple[Holder, Credentials]:
        """Return whose token it is, and the credentials with that and with when they end."""
        profile = decoded("Dhan", (await self._get("/profile", access_token)).body, _Profile)
        known = credentials(access_token)
        user = remembered(profile.dhan_client_id or known.user or self._client_id, 64)
        ends = known.expires_at if known.expires_at is not None else _epoch(profile.token_validity)
        return Holder(user, ""), Credentials(access_token, ends, user)

    async def renewed(self, access_token: str) -> Credentials:
        """Return the token of the next 24 hours for one that still lives, which ends with that.

        Raises BrokerError: BROKER_REFUSED_CREDENTIALS for one that has ended, or was not made on the page.
        """
        made = decoded("Dhan", (await self._get("/RenewToken", access_token)).body, _Renewed)
        token = made.access_token or made.token
        if not token:
            raise BrokerError("Dhan's renewal has no access token.", code=ErrorCode.BROKER_UNREACHABLE)
        return credentials(token)

    def until(self, expires_at: float) -> str:
        """Return a time as a trader in India reads it."""
        return as_read(expires_at, "about ")

    async def _get(self, path: str, access_token: str) -> Answer:
        headers = {"access-token": access_token, "dhanClientId": self._client_id}
        return await self._asked("GET", path, headers)

    def _fault(self, answer: Answer) -> BrokerError | None:
        return fault(answer)


def renewal(session: DhanSession, present: Callable[[], Credentials], before: Provider | None) -> Provider:
    """Return a provider that renews an account's token while it lives, unless `before` has a newer one.

    The token before ends with that, for every other program that uses it too: so it is off unless asked for.
    `present` gives the credentials of the account.
    """

    async def renew_dhan_token() -> Credentials | None:
        known = present()
        given = await before() if before is not None else None
        if given is not None and given.access_token != known.access_token:
            return given
        return await session.renewed(known.access_token)

    return renew_dhan_token


def _epoch(text: str) -> float | None:
    """Return the epoch seconds of "30/03/2026 15:37"; None for what is no time."""
    try:
        return datetime.strptime(text, "%d/%m/%Y %H:%M").replace(tzinfo=INDIA).timestamp()
    except ValueError:
        return None
