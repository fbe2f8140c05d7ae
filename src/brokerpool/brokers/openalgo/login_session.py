"""A key of OpenAlgo's: where a person finds it, and whether the server takes it."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

from brokerpool.brokers.base_login_session import BaseSession
from brokerpool.brokers.http_call import Answer
from brokerpool.brokers.login import Credentials
from brokerpool.brokers.openalgo.rest import HEADERS, PREFIX, fault, read_data
from brokerpool.brokers.registry import Holder
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.untrusted_text import remembered


class _Pong(msgspec.Struct):
    broker: str = ""


class _Ping(msgspec.Struct):
    data: _Pong


class OpenAlgoSession(BaseSession):
    """Asks a server whether it takes a key; `repr` and errors show none.

    A call takes `timeout` seconds at most, leaves as the `egress` says, and is made once.
    """

    def __init__(
        self,
        api_key: str = "",
        *,
        http_url: str,
        login_url: str = "",
        egress: Egress | None = None,
        timeout: float = 10.0,
    ) -> None:
        """`api_key` is tried where no other is given."""
        self._api_key = api_key
        super().__init__(http_url=http_url, login_url=login_url, egress=egress, timeout=timeout)
        self._login_url = login_url or f"{self._http_url}/apikey"

    def login_address(self, state: str = "") -> str:
        """Return the page on which OpenAlgo shows a user's API key; it leads nowhere else."""
        return self._login_url

    def redirected(self, text: str) -> str | None:
        """Return None for a key. Raises ValueError for an address, which holds none."""
        if "://" in text:
            raise ValueError("OpenAlgo's page leads to no address: copy the API key that it shows")
        return None

    async def exchange(self, redirected: str, api_secret: str) -> Credentials:
        """Raise BrokerError (BROKER_REFUSED_CREDENTIALS): there is nothing to exchange, a key is all."""
        raise BrokerError(
            "OpenAlgo takes this as no API key, and makes none of anything else.",
            code=ErrorCode.BROKER_REFUSED_CREDENTIALS,
        )

    async def tried(self, access_token: str) -> tuple[Holder, Credentials]:
        """Return which broker the key's OpenAlgo uses, and the key as credentials without an end.

        The key is the access token, or the account's own where that is empty.
        """
        key = access_token or self._api_key
        answer = await self._ask("ping", key)
        broker = ""
        if answer.status == HTTPStatus.NOT_FOUND:  # older servers have no ping
            answer = await self._ask("funds", key)
        else:
            broker = remembered(read_data(answer, _Ping).data.broker, 64)
        complaint = fault(answer)
        if complaint is not None:
            raise complaint
        holder = Holder(broker or "a user", f"OpenAlgo at {urlsplit(self._http_url).hostname}")
        return holder, Credentials(key, None, broker)

    def until(self, expires_at: float) -> str:
        """Return words for an end, which a key does not have."""
        return "it is replaced"

    async def _ask(self, endpoint: str, key: str) -> Answer:
        answer = await self._call("POST", f"{PREFIX}/{endpoint}", HEADERS, json={"apikey": key})
        complaint = fault(answer)
        if complaint is not None and answer.status != HTTPStatus.NOT_FOUND:
            raise complaint
        return answer
